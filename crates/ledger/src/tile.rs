//! C2SP tiles: the tree cut into files of up to 256 hashes, eight levels to a file, which never change once full.
//!
//! Kept true: a tile lies wholly within a tree of at most [`MAX_SIZE`] leaves; its path has one written form. Entry bundles
//! are not made here: entries may hold what the ledger's readers must not see.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    checkpoint::decimal,
    merkle::{Hash, MAX_SIZE, Subtrees, shown},
};

/// The hashes in a full tile.
pub const FULL_WIDTH: u16 = 256;
/// The levels of the tree that one level of tiles spans.
const TILE_HEIGHT: u32 = 8;
/// The highest level of tiles that a tree of [`MAX_SIZE`] leaves has.
const MAX_LEVEL: u8 = 7;

/// One tile: which hashes of the tree stand in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// Why there is no such tile. The requester's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileError {
    /// The path is not of the form.
    #[error(
        "{found:?} is no tile's path: write `tile/LEVEL/INDEX` or `tile/LEVEL/INDEX.p/WIDTH`, index in groups of three digits"
    )]
    Path {
        /// What stood there, at most 80 characters of it.
        found: String,
    },
    /// Beyond any tree.
    #[error(
        "no tree has a tile of width {width} at level {level}, index {index}: ask for one below the checkpoint's size"
    )]
    OutsideTree {
        /// The level of tiles.
        level: u8,
        /// The index within the level.
        index: u64,
        /// The width.
        width: u16,
    },
}

impl Tile {
    /// The tile of `width` hashes at `level`, the `index`th of that level.
    ///
    /// # Errors
    /// [`TileError::OutsideTree`] for a width of 0 or above [`FULL_WIDTH`], and for a tile beyond [`MAX_SIZE`] leaves.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let hashes = index.checked_mul(FULL_WIDTH.into()).and_then(|start| start.checked_add(width.into()));
        let fits = hashes.is_some_and(|hashes| level <= MAX_LEVEL && hashes <= MAX_SIZE >> span(level));
        if width == 0 || width > FULL_WIDTH || !fits {
            return Err(TileError::OutsideTree { level, index, width });
        }
        Ok(Self { level, index, width })
    }

    /// The level of tiles, 0 for leaf hashes.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The index within the level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it has, 1 to [`FULL_WIDTH`].
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The file's content: the tile's hashes one after the other.
    ///
    /// # Errors
    /// What the source of hashes says.
    pub fn content<S: Subtrees + ?Sized>(&self, tree: &S) -> Result<Vec<u8>, S::Error> {
        let start = self.index * u64::from(FULL_WIDTH);
        let mut bytes = Vec::with_capacity(usize::from(self.width) * Hash::LENGTH);
        for at in start..start + u64::from(self.width) {
            bytes.extend_from_slice(tree.subtree(span(self.level), at)?.as_bytes());
        }
        Ok(bytes)
    }

    /// The tiles to write when a tree grew from `old` leaves to `new`: those that became full, and at each level that grew the
    /// partial one at its end. Empty unless `new` is larger. Both must be at most [`MAX_SIZE`]; beyond it there are no tiles.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let full = u64::from(FULL_WIDTH);
        (0..=MAX_LEVEL).flat_map(move |level| {
            let (before, after) = (old >> span(level), new >> span(level));
            let filled = (before / full..after / full).map(move |index| (index, FULL_WIDTH));
            let rest = u16::try_from(after % full).ok().filter(|rest| *rest != 0 && before < after);
            let partial = rest.map(|width| (after / full, width));
            filled.chain(partial).filter_map(move |(index, width)| Self::new(level, index, width).ok())
        })
    }
}

/// How many levels of the tree lie below this level of tiles.
fn span(level: u8) -> u32 {
    TILE_HEIGHT * u32::from(level)
}

/// The path below the log's prefix, such as `tile/0/x001/x234/067` or `tile/1/000.p/17`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        write!(f, "tile/{}/{}", self.level, groups.join("/"))?;
        if self.width < FULL_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for Tile {
    type Err = TileError;
    fn from_str(path: &str) -> Result<Self, TileError> {
        let wrong = || TileError::Path { found: shown(path) };
        let (level, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let level = decimal(level).and_then(|level| u8::try_from(level).ok()).ok_or_else(wrong)?;
        let (groups, width) = match place.split_once(".p/") {
            None => (place, FULL_WIDTH),
            Some((groups, width)) => {
                let width = decimal(width).and_then(|width| u16::try_from(width).ok());
                (groups, width.filter(|width| *width < FULL_WIDTH).ok_or_else(wrong)?)
            }
        };
        let tile = Self::new(level, index_of(groups).ok_or_else(wrong)?, width)?;
        // Leading groups of zeros and wrong group lengths name the same index; only the written form is taken.
        if tile.to_string() == path { Ok(tile) } else { Err(wrong()) }
    }
}

fn index_of(groups: &str) -> Option<u64> {
    groups.split('/').try_fold(0_u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index.checked_mul(1000)?.checked_add(digits.parse().ok()?)
    })
}
