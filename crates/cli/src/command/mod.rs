//! The commands, one file a group.

mod approvals;
mod audit;
mod bundle;
mod control;
mod demo;
mod doctor;
mod explain;
mod gateway;
mod login;
mod mandate;
mod manifest;
mod notices;
mod people;
mod publishing;
mod replay;
mod run;
mod secrets;
mod servers;
mod serving;
mod stop;
mod tokens;
mod traces;

use std::future::Future;

use clap::CommandFactory;

use crate::{
    args::{Arguments, Command, CompletionArgs, TokenCommand},
    output::{Exit, Output},
};

/// Runs a command.
pub(crate) fn run(command: Command, out: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(args) => demo::demo(&args, *out),
        Command::Run(args) => run::run(args, *out),
        Command::Gateway(args) => gateway::run(&args, *out),
        Command::Serve(args) => control::serve(&args, *out),
        Command::Dev(args) => control::dev(&args, *out),
        Command::Login(args) => login::login(&args, *out),
        Command::Logout(args) => login::logout(&args, *out),
        Command::Whoami(args) => login::whoami(&args, *out),
        Command::Person(command) => people::person(command, *out),
        Command::Agent(command) => people::agent(command, *out),
        Command::Client(command) => people::client(command, *out),
        Command::Bundle(command) => publishing::bundle(command, *out),
        Command::Server(command) => servers::server(command, *out),
        Command::Secret(command) => secrets::secret(command, *out),
        Command::Token(TokenCommand::Add(args)) => gateway::add_token(&args, *out),
        Command::Token(TokenCommand::Rotate(args)) => tokens::rotate(&args, *out),
        Command::Init(args) => bundle::init(&args, *out),
        Command::Doctor(args) => doctor::run(&args, *out),
        Command::Check(args) => bundle::check(&args, *out),
        Command::Schema(args) => bundle::schema(&args, *out),
        Command::Replay(args) => replay::replay(&args, *out),
        Command::Manifest(command) => manifest::run(command, *out),
        Command::Mandate(command) => mandate::run(command, *out),
        Command::Approvals(command) => approvals::approvals(command, *out),
        Command::Revoke(args) => stop::revoke(&args, *out),
        Command::Lockdown(args) => stop::lockdown(&args, *out),
        Command::Explain(args) => explain::explain(&args, *out),
        Command::Audit(command) => audit::run(command, *out),
        Command::Completion(args) => completion(&args, *out),
        Command::DemoWorld(args) => demo::world(args),
        Command::ApiDocument => {
            let document = serde_json::to_string_pretty(&warrantor_api::openapi())?;
            out.text(&document).map(|()| Exit::Done)
        }
        Command::ApiMarkdown => out.text(&warrantor_api::reference()).map(|()| Exit::Done),
        Command::HelpMarkdown => {
            let options =
                clap_markdown::MarkdownOptions::new().title("Command line".to_owned()).show_footer(false);
            let text = clap_markdown::help_markdown_custom::<Arguments>(&options);
            out.text(&text).map(|()| Exit::Done)
        }
    }
}

/// Waits for a command that does I/O. One thread is enough for all of them but `run`.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn completion(args: &CompletionArgs, out: Output) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "warrantor", &mut text);
    out.text(&String::from_utf8_lossy(&text)).map(|()| Exit::Done)
}
