//! `demo`, and the tool server it starts.

use crate::{
    args::{DemoArgs, DemoWorldArgs},
    command::block_on,
    output::{Exit, Output},
};

pub(crate) fn demo(_args: &DemoArgs, _out: Output) -> anyhow::Result<Exit> {
    anyhow::bail!("the demonstration is being written")
}

/// Serves the example world on standard input and output.
pub(crate) fn world(args: DemoWorldArgs) -> anyhow::Result<Exit> {
    block_on(async { Ok(warrantor_demo::serve_world_stdio(args.journal).await?) })?;
    Ok(Exit::Done)
}
