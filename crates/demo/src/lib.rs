//! The demonstration of Warrantor, floor 6 of the workspace: an example world, an agent in it, and the story of one task.
//!
//! It plays the product from outside. The agent is a real MCP client, the world a real MCP server, and between them stands the program itself as
//! separate processes; nothing that is told was decided here. A step that ends in another way than the story expects is told so, loudly, and the
//! whole counts as failed.
//!
//! Not known here: how decisions are made, what a data directory holds, the clock, the environment.

pub mod bundle;
mod serve;
pub mod story;
pub mod tell;
pub mod world;

use std::io::Write;

pub use serve::serve;
pub use story::{Ending, Options, Place, Stopwatch, StoryError};
pub use tell::Form;
pub use world::{WorldError, serve_world_stdio};

/// Performs the story and tells it in this form.
///
/// # Errors
/// [`StoryError`] when there is no place to perform it or nobody to tell it to.
pub async fn demo(
    options: &Options,
    form: Form,
    stopwatch: Stopwatch<'_>,
    out: &mut dyn Write,
) -> Result<Ending, StoryError> {
    let mut narrator = tell::narrator(form, out);
    story::run(options, stopwatch, narrator.as_mut()).await
}
