//! `demo`, and the tool server it starts.

use std::{io::IsTerminal, time::Instant};

use anyhow::Context;
use warrantor_demo::{
    Ending, Form,
    story::{Options, Place},
};

use crate::{
    args::{DemoArgs, DemoWorldArgs},
    command::block_on,
    output::{Exit, Output},
};

/// Columns when nobody says how many there are.
const WIDTH: usize = 100;

pub(crate) fn demo(args: &DemoArgs, out: Output) -> anyhow::Result<Exit> {
    let place = match (&args.dir, args.serve) {
        (Some(dir), _) => Place::At(dir.clone()),
        (None, true) => Place::Kept,
        (None, false) => Place::Temporary,
    };
    let executable = std::env::current_exe().context("the program does not know where it is")?;
    let options = Options { executable, place };
    let form = if out.is_json() { Form::Json } else { Form::Terminal { width: width(), colours: colours() } };
    let mut to = std::io::stdout().lock();
    if args.serve {
        warrantor_demo::serve(&options, form, &mut to)?;
        return Ok(Exit::Done);
    }
    let begun = Instant::now();
    let stopwatch = move || begun.elapsed();
    let ending = block_on(async { Ok(warrantor_demo::demo(&options, form, &stopwatch, &mut to).await?) })?;
    Ok(match ending {
        Ending::AsExpected => Exit::Done,
        Ending::Otherwise { .. } => Exit::Wrong,
    })
}

fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map_or(WIDTH, |size| usize::from(size.ws_col))
        .clamp(40, WIDTH)
}

/// Serves the example world on standard input and output.
pub(crate) fn world(args: DemoWorldArgs) -> anyhow::Result<Exit> {
    block_on(async { Ok(warrantor_demo::serve_world_stdio(args.journal).await?) })?;
    Ok(Exit::Done)
}
