//! The command line: what can be asked for, with examples.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use warrantor_model::{
    AgentId, EnforcementPoint, MandateId, PersonId, ServerName, TaskId, TemplateId, TokenId,
};

mod approvals;
mod secrets;
mod servers;
mod tokens;

pub(crate) use approvals::*;
pub(crate) use secrets::*;
pub(crate) use servers::*;
pub(crate) use tokens::*;

/// Before an AI agent's action takes effect, one decision: who acts, what it does, and why. Permit, deny with a usable reason, or ask a human.
#[derive(Debug, Parser)]
#[command(name = "warrantor", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Arguments {
    /// How to answer: a table for people, or JSON. By default a table on a terminal and JSON elsewhere.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Auto)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the main job on an example world: an agent works, and every call is decided, enforced, recorded and proven.
    #[command(after_help = "Examples:\n  warrantor demo\n  warrantor demo -o json\n  warrantor demo --serve")]
    Demo(DemoArgs),
    /// Stand between an MCP client and a stdio MCP server: decide every call, and pass on what is permitted.
    #[command(
        after_help = "Examples:\n  warrantor run --bundle ./bundle --server files --mandate tidy-notes -- npx -y @modelcontextprotocol/server-filesystem /srv/notes\n\nPut the same words before the server's command in any MCP client's configuration.\nThe client's messages come on standard input, answers go to standard output, everything else to standard error."
    )]
    Run(RunArgs),
    /// Stand before tool servers on HTTP: every agent's way to its tools, each call decided.
    #[command(
        after_help = "Examples:\n  warrantor gateway --config ./gateway.toml\n  warrantor gateway --config ./gateway.toml -o json\n\nA client sends its token as `Authorization: Bearer …` to the URL of a server, which is printed when the gateway\nlistens. A token that is bound to several mandates needs the header `Warrantor-Mandate` besides.\nAn interrupt ends it when what is under way has ended."
    )]
    Gateway(GatewayArgs),
    /// Serve the control plane: people, agents, mandates, and who may do what with them, over HTTP.
    #[command(
        after_help = "Examples:\n  warrantor serve --config ./serve.toml\n  warrantor serve --config ./serve.toml -o json\n\nOn a new data directory, make somebody an administrator on the host first:\n  warrantor person add --id alice --issuer https://login.example.com --subject 00u1 --role administrator\nA hangup reads the configuration anew; an interrupt ends it when what is under way has ended."
    )]
    Serve(ServeArgs),
    /// Serve a control plane with an example world to try things on: on this machine only, and gone when it ends.
    #[command(after_help = "Examples:\n  warrantor dev\n  warrantor dev --bundle ./bundle --port 0 -o json")]
    Dev(DevArgs),
    /// Sign in to a control plane, and keep the session for other commands.
    #[command(
        after_help = "Examples:\n  warrantor login --server https://warrantor.example.com\n  warrantor login --server https://warrantor.example.com --device\n  warrantor login --server http://127.0.0.1:8421 --as alice --data /var/lib/warrantor     (on the host)"
    )]
    Login(LoginArgs),
    /// End the session that `login` began.
    #[command(after_help = "Examples:\n  warrantor logout --server https://warrantor.example.com")]
    Logout(ServerArgs),
    /// Say who a session is, at the control plane.
    #[command(after_help = "Examples:\n  warrantor whoami --server https://warrantor.example.com")]
    Whoami(ServerArgs),
    /// Register people and give roles, on the host of the data directory.
    #[command(subcommand)]
    Person(PersonCommand),
    /// See the agents of a data directory.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Make credentials for clients of the control plane, such as a directory, on the host of the data directory.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Publish bundles, see what was published, and go back, on the host of the data directory.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Review manifests of tool servers, and see what servers offer that is not as reviewed, on the host of the data directory.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Make tokens for callers of a gateway, and change the keys that the token service signs with.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Keep the secrets of tool servers sealed, for a gateway to open.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Make a starter bundle that wraps a real file server.
    #[command(
        after_help = "Examples:\n  warrantor init ./bundle --root /srv/notes\n  warrantor init ./bundle --root ~/notes --person alice"
    )]
    Init(InitArgs),
    /// Check a bundle: every file, every name, every policy, with line and cure.
    #[command(
        after_help = "Examples:\n  warrantor check ./bundle\n  warrantor check ./bundle -o json\n\nExit code 0 when the bundle loads, 1 when it does not."
    )]
    Check(CheckArgs),
    /// Look at everything that a gateway needs, and say what is wrong, with the cure. Nothing is changed; programs of servers are started to be asked what
    /// they offer.
    #[command(
        after_help = "Examples:\n  warrantor doctor --config ./gateway.toml\n  warrantor doctor --data /var/lib/warrantor\n  warrantor doctor --config ./gateway.toml -o json\n\nExit code 0 when nothing is wrong (there may be warnings), 1 when something is."
    )]
    Doctor(DoctorArgs),
    /// Print the JSON Schema of a format.
    #[command(
        after_help = "Examples:\n  warrantor schema mandate\n  warrantor schema manifest > manifest.schema.json"
    )]
    Schema(SchemaArgs),
    /// Decide recorded traces call by call, as `run` would, without any server; or compare two bundles on them.
    #[command(
        after_help = "Examples:\n  warrantor replay --bundle ./bundle day.jsonl\n  warrantor replay --bundle ./bundle --against ./tomorrow day.jsonl\n  warrantor run --trace day.jsonl … writes such traces; `-` reads standard input.\n\nWith -o json: one line a call, then a summary. Exit code 0 when every line was replayed, 1 when two bundles differ,\n2 when a trace or an argument is malformed."
    )]
    Replay(ReplayArgs),
    /// Draft manifests of tool servers.
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// Hand over tasks, and see which are handed over.
    #[command(subcommand)]
    Mandate(MandateCommand),
    /// See what agents ask persons, and answer: each answer is for one call.
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Stop an agent, a person, a mandate or a tool server, at once and in every process on this data directory.
    #[command(
        after_help = "Examples:\n  warrantor revoke agent invoice-bot --reason \"acts oddly\"\n  warrantor revoke person alice\n  warrantor revoke mandate tidy-notes\n  warrantor revoke server office --reason \"its new release leaks\"\n  warrantor revoke person alice --lift\n\nA mandate is named by its id in the bundle (all its instances) or by an instance.\nExit code 3 when the stop could not be acknowledged."
    )]
    Revoke(RevokeArgs),
    /// Stop everything on this data directory, at once; or lift that.
    #[command(
        after_help = "Examples:\n  warrantor lockdown --reason \"incident 42\"\n  warrantor lockdown --lift"
    )]
    Lockdown(LockdownArgs),
    /// Show one decision whole: who, what, why, which policies, what became of it.
    #[command(
        after_help = "Examples:\n  warrantor explain d019a2b3c4d5e-0123456789abcdef\n  warrantor explain d019a2b3c4d5e-0123456789abcdef -o json"
    )]
    Explain(ExplainArgs),
    /// Verify and export the ledger, and keep its keys.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print completions for a shell.
    #[command(
        after_help = "Examples:\n  warrantor completion bash > ~/.local/share/bash-completion/completions/warrantor"
    )]
    Completion(CompletionArgs),
    /// The tool server of the demonstration.
    #[command(hide = true)]
    DemoWorld(DemoWorldArgs),
    /// The reference of this command line, as Markdown.
    #[command(hide = true)]
    HelpMarkdown,
    /// The OpenAPI document of the control plane.
    #[command(hide = true)]
    ApiDocument,
    /// The reference of the control plane's interface, as Markdown.
    #[command(hide = true)]
    ApiMarkdown,
}

/// Where the state is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The data directory: ledger, mandates, stop file. Processes that share it share budgets and stops.
    #[arg(long, value_name = "DIR", env = "WARRANTOR_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The key directory; by default `keys` in the data directory. Put it on another volume to keep it apart.
    #[arg(long, value_name = "DIR", env = "WARRANTOR_KEYS")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the world for a client of your own and print the configuration to paste.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Where to keep it; a new temporary directory by default.
    #[arg(long, value_name = "DIR", requires = "serve")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoWorldArgs {
    /// Append every call that was performed to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// The server as the bundle names it.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: ServerName,
    /// The mandate of the bundle that calls are made under, or an instance that was handed over or delegated.
    #[arg(long, value_name = "ID")]
    pub(crate) mandate: TemplateId,
    /// Go on with this task; by default the live one, or the first.
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<TaskId>,
    /// Append the session to this file as a trace, to be replayed on another bundle. It holds arguments and results in the clear.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Let a call that asks a person wait so long for the answer, such as `30s`, before its client is told that it waits.
    #[arg(long, value_name = "TIME", value_parser = warrantor_model::time::parse_duration)]
    pub(crate) hold: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// The server's command and its arguments.
    #[arg(last = true, required = true, num_args = 1.., value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// The gateway's configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The gateway's configuration; without it only the data directory is looked at.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// How asks are answered in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Approve {
    /// Every one with yes: its call counts as made.
    All,
    /// None.
    None,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// Another bundle: print only calls whose decision or reasons differ between the two.
    #[arg(long, value_name = "DIR")]
    pub(crate) against: Option<PathBuf>,
    /// How asks are answered.
    #[arg(long, value_enum, default_value_t = Approve::None)]
    pub(crate) approve: Approve,
    /// Let results of calls that did not pass enter the history all the same, as they did where nothing enforced.
    #[arg(long)]
    pub(crate) assume_executed: bool,
    /// Traces in JSON Lines; `-` is standard input.
    #[arg(required = true, num_args = 1.., value_name = "TRACE")]
    pub(crate) traces: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to make the bundle; must not exist or be empty.
    pub(crate) dir: PathBuf,
    /// The directory that the wrapped file server serves; the present one by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The person who hands over tasks; you by default.
    #[arg(long, value_name = "ID")]
    pub(crate) person: Option<PersonId>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The bundle directory.
    pub(crate) dir: PathBuf,
    /// Print the Cedar schema that policies are validated against, generated from the pinned tools.
    #[arg(long)]
    pub(crate) cedar_schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// people, agents, trackers, manifest, mandate, config, trace, gateway, tokens or serve.
    pub(crate) kind: warrantor_bundle::FileKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Draft a manifest from a `tools/list` answer or from a live stdio server. Every guess is marked for review.
    #[command(
        after_help = "Examples:\n  warrantor manifest draft files --from tools.json --into ./bundle\n  warrantor manifest draft files --into ./bundle -- npx -y @modelcontextprotocol/server-filesystem /srv/notes\n  warrantor manifest draft files --from tools.json        (prints the manifest)"
    )]
    Draft(DraftArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DraftArgs {
    /// The name to give the server.
    pub(crate) server: ServerName,
    /// A file with the server's `tools/list` answer; `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) from: Option<PathBuf>,
    /// Write `tools/NAME.yaml` and `tools/NAME.tools.json` into this bundle; existing files are not overwritten.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// A live server's command and its arguments.
    #[arg(last = true, num_args = 0.., value_name = "CMD", required_unless_present = "from")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MandateCommand {
    /// Hand a mandate of the bundle over anew: a recorded act with fresh budgets and a fresh expiry.
    #[command(after_help = "Examples:\n  warrantor mandate handover tidy-notes --bundle ./bundle")]
    Handover(HandoverArgs),
    /// Hand on a part of a live task to another agent, after checking line by line that the part is no wider than the whole.
    #[command(
        after_help = "Examples:\n  warrantor mandate delegate post-status --bundle ./bundle\n  warrantor mandate delegate ./part.yaml --bundle ./bundle --check\n\nThe mandate names what it narrows in `parent`. Run it by its id in the bundle, or by the instance that is printed.\nExit code 1 when a line is wider, or when the parent has no live instance."
    )]
    Delegate(DelegateArgs),
    /// Say in plain sentences what a mandate allows, for the person who answers for it.
    #[command(
        after_help = "Examples:\n  warrantor mandate show pay-october --bundle ./bundle\n  warrantor mandate show ./part.yaml --bundle ./bundle"
    )]
    Show(ShowArgs),
    /// List the mandates that were handed over.
    #[command(after_help = "Examples:\n  warrantor mandate list\n  warrantor mandate list -o json")]
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HandoverArgs {
    /// The mandate's id in the bundle.
    pub(crate) mandate: TemplateId,
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct DelegateArgs {
    /// The mandate's id in the bundle, or a file that holds it.
    pub(crate) mandate: String,
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// Only check that it narrows what it names; hand on nothing.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The mandate's id in the bundle, or a file that holds one that narrows a mandate of it.
    pub(crate) mandate: String,
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectKind {
    /// An agent.
    Agent,
    /// A person, and with the person everything the person answers for.
    Person,
    /// A mandate: by its id in the bundle all instances, by an instance's id that one.
    Mandate,
    /// A tool server: it is quarantined.
    Server,
    /// A token that the token service made, and every token that was made from it.
    Token,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// What to stop.
    pub(crate) kind: SubjectKind,
    /// Its id.
    pub(crate) id: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Let it go on again. Mandates and tokens end for good.
    #[arg(long)]
    pub(crate) lift: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

impl RevokeArgs {
    /// The subject that is meant.
    pub(crate) fn subject(&self) -> anyhow::Result<warrantor_model::Subject> {
        use warrantor_model::Subject;
        Ok(match self.kind {
            SubjectKind::Agent => Subject::Agent(AgentId::new(self.id.clone())?),
            SubjectKind::Person => Subject::Person(PersonId::new(self.id.clone())?),
            SubjectKind::Mandate if MandateId::is_like(&self.id) => {
                Subject::Mandate(MandateId::new(self.id.clone())?)
            }
            SubjectKind::Mandate => Subject::Template(TemplateId::new(self.id.clone())?),
            SubjectKind::Server => Subject::Server(ServerName::new(self.id.clone())?),
            SubjectKind::Token => Subject::Token(TokenId::new(self.id.clone())?),
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct LockdownArgs {
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Let everything go on again.
    #[arg(long)]
    pub(crate) lift: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The decision's id, as the refusal or the list of records names it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Derive the ledger anew from its stored bytes and compare it with everything that was signed.
    #[command(
        after_help = "Examples:\n  warrantor audit verify\n  warrantor audit verify --data ./copy --key \"log+1234abcd+AbCd…\" --checkpoint kept.note\n\nExit code 0 when everything holds, 1 when something is wrong."
    )]
    Verify(VerifyArgs),
    /// Write the records as JSON Lines.
    #[command(
        after_help = "Examples:\n  warrantor audit export > ledger.jsonl\n  warrantor audit export --from 1000 --file ledger.jsonl"
    )]
    Export(ExportArgs),
    /// Show what crossed to other domains and from them, and compare it with what the other domain has recorded.
    #[command(
        after_help = "Examples:\n  warrantor audit crossings\n  warrantor audit crossings --domain https://control.partner.example -o json > ours.json\n  warrantor audit crossings --domain https://control.partner.example --compare theirs.json\n\nExit code 0; with --compare 1 when one side has taken a grant that the other has not made, or not in these words, and 2 when the file is not that domain's."
    )]
    Crossings(CrossingsArgs),
    /// Sign checkpoints with a new key from now on. The next one is signed by both.
    #[command(after_help = "Examples:\n  warrantor audit rotate-key")]
    RotateKey(PlaceArgs),
    /// Go on after a backup was restored: says in the ledger that what was signed beyond it is lost.
    #[command(after_help = "Examples:\n  warrantor audit begin-epoch --yes")]
    BeginEpoch(EpochArgs),
    /// Confirm that the clock is right although it stands before the last record.
    #[command(after_help = "Examples:\n  warrantor audit confirm-clock --yes")]
    ConfirmClock(EpochArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// A verifier key to trust, instead of those in the key directory. May be given several times.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// A checkpoint that you kept. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The first record.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// Where to write; standard output by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CrossingsArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The issuer of the other domain's tokens; all domains when nothing is said.
    #[arg(long, value_name = "URL")]
    pub(crate) domain: Option<String>,
    /// What the other domain's `audit crossings -o json` told.
    #[arg(long, value_name = "FILE", requires = "domain")]
    pub(crate) compare: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct EpochArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// I know what this says in the ledger.
    #[arg(long, required = true)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// Which shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The control plane's configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// A bundle of your own; the example world's by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8421)]
    pub(crate) port: u16,
}

/// A data directory, and the bundle whose people and agents stand beside the registered ones.
#[derive(Debug, Clone, Args)]
pub(crate) struct OfficePlace {
    /// The bundle directory, to see its people and agents too.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Publish a bundle that passes its checks. Gateways and control planes whose configuration has a `point` decide on it within seconds.
    #[command(
        after_help = "Examples:\n  warrantor bundle publish ./bundle --reason 'Payments need two approvers'\n  warrantor bundle publish ./bundle --reason 'Try it in one region first' --point gateway-eu\n\nExit code 0 when it is published, 1 when the bundle does not pass its checks."
    )]
    Publish(PublishArgs),
    /// List what was published, the latest first.
    #[command(
        after_help = "Examples:\n  warrantor bundle history\n  warrantor bundle history --before 120 --limit 20 -o json"
    )]
    History(HistoryArgs),
    /// Say in words what a publication says differently.
    #[command(
        after_help = "Examples:\n  warrantor bundle difference 7\n  warrantor bundle difference 7 --against 3 -o json"
    )]
    Difference(DifferenceArgs),
    /// Publish an earlier publication again, for the enforcement points that it was for.
    #[command(after_help = "Examples:\n  warrantor bundle roll-back 6 --reason 'Payments were refused'")]
    RollBack(RollBackArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The bundle directory.
    pub(crate) dir: PathBuf,
    /// Why; it is part of the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// An enforcement point that it is for; every one where none is named. Can be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) point: Vec<EnforcementPoint>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Begin before this publication.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
    /// How many to list at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct DifferenceArgs {
    /// The publication's number.
    pub(crate) number: u64,
    /// The publication to compare with; the one before when none is named.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) against: Option<u64>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct RollBackArgs {
    /// The publication's number.
    pub(crate) number: u64,
    /// Why; it is part of the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PersonCommand {
    /// Register a person. The key is issuer and subject, as the identity provider's tokens tell them.
    #[command(
        after_help = "Examples:\n  warrantor person add --id alice --issuer https://login.example.com --subject 00u1 --role administrator\n  warrantor person add --issuer https://login.example.com --subject 00u2 --name \"Bob B.\" -o json"
    )]
    Add(PersonAddArgs),
    /// List the people.
    #[command(
        after_help = "Examples:\n  warrantor person list\n  warrantor person list --bundle ./bundle -o json"
    )]
    List(OfficePlace),
    /// Say which roles a person has; none given takes all away.
    #[command(
        after_help = "Examples:\n  warrantor person roles alice --role administrator\n  warrantor person roles alice --role auditor --role responder\n  warrantor person roles alice"
    )]
    Roles(PersonRolesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PersonAddArgs {
    /// The id; made from the name when none is given.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<PersonId>,
    /// The identity provider, exactly as its tokens name it.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// The provider's name for the person.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: String,
    /// What the person is called.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// A mail address: an attribute, never a key. Can be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mail: Vec<String>,
    /// A role: administrator, auditor, responder, publisher, or one that policies of your own speak of. Can be given several times.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct PersonRolesArgs {
    /// The person's id.
    pub(crate) id: PersonId,
    /// A role. Can be given several times.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List the agents.
    #[command(
        after_help = "Examples:\n  warrantor agent list --bundle ./bundle\n  warrantor agent list --orphaned -o json"
    )]
    List(AgentListArgs),
    /// Show an agent, and what of it waits for an approval.
    #[command(
        after_help = "Examples:\n  warrantor agent show invoice-bot\n  warrantor agent show invoice-bot -o json"
    )]
    Show(AgentShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AgentListArgs {
    /// Only those that nobody live is accountable for.
    #[arg(long)]
    pub(crate) orphaned: bool,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct AgentShowArgs {
    /// The agent's id.
    pub(crate) id: AgentId,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

/// Which attribute of a SCIM user is the subject in the issuer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectAttr {
    /// `externalId`, as Okta sends its own id.
    ExternalId,
    /// `userName`.
    UserName,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a credential. It is shown once; the store has its digest.
    #[command(
        after_help = "Examples:\n  warrantor client add okta --role provisioner --issuer https://login.example.com\n  warrantor client add entra --role provisioner --issuer https://login.microsoftonline.com/TENANT/v2.0 --subject external-id\n  warrantor client add ci --role publisher -o json"
    )]
    Add(ClientAddArgs),
    /// List the clients.
    #[command(after_help = "Examples:\n  warrantor client list")]
    List(OfficePlace),
    /// End a client's credential.
    #[command(after_help = "Examples:\n  warrantor client remove okta")]
    Remove(ClientRemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ClientAddArgs {
    /// The client's name.
    pub(crate) name: String,
    /// What it may do: `provisioner` for a directory, or another role that policies speak of. Can be given several times.
    #[arg(long, value_name = "ROLE", required = true)]
    pub(crate) role: Vec<String>,
    /// For a directory: the issuer that its people sign in with.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// For a directory: which attribute is the subject in that issuer's tokens.
    #[arg(long, value_enum, default_value_t = SubjectAttr::ExternalId)]
    pub(crate) subject: SubjectAttr,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct ClientRemoveArgs {
    /// The client's name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

/// A control plane to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The control plane's address.
    #[arg(long, value_name = "URL", env = "WARRANTOR_SERVER")]
    pub(crate) server: String,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Sign in on another device: a code is shown here and typed there.
    #[arg(long, conflicts_with = "as_person")]
    pub(crate) device: bool,
    /// On the host of the data directory: begin a session of this person, without any provider. The record says who did it.
    #[arg(long = "as", value_name = "ID")]
    pub(crate) as_person: Option<PersonId>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}
