//! `person`, `agent`, `client`: administration by whoever has the data directory.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;
use warrantor_bundle::{Loaded, load, load_files};
use warrantor_control::{
    access::{DirectorySettings, StoredClient, SubjectAttribute},
    agents::KnownAgent,
    office::{Authority, Office},
    people::{KnownPerson, NewPerson},
};
use warrantor_decide::administration::Act;
use warrantor_model::PersonId;
use warrantor_store_sql::SqliteStore;

use super::control::{administration, office};
use crate::{
    args::{
        AgentCommand, ClientAddArgs, ClientCommand, OfficePlace, PersonAddArgs, PersonCommand, SubjectAttr,
    },
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output, columns},
};

/// How many are read at a time.
const PAGE: usize = 200;

/// A deployment with its office.
pub(super) struct Opened {
    pub(super) deployment: Deployment,
    pub(super) office: Office<SqliteStore>,
}

impl Opened {
    pub(super) async fn at(place: &OfficePlace) -> anyhow::Result<Self> {
        let bundle = bundle(place.bundle.as_deref())?;
        let deployment = Deployment::open(&place.place, Some(&bundle)).await?;
        deployment.absorb().await;
        let office = office(&deployment, &bundle, administration(None)?);
        Ok(Self { deployment, office })
    }

    /// A data directory that must be there.
    pub(super) async fn existing(place: &OfficePlace) -> anyhow::Result<Self> {
        let bundle = bundle(place.bundle.as_deref())?;
        let deployment = Deployment::existing(&place.place).await?;
        let office = office(&deployment, &bundle, administration(None)?);
        Ok(Self { deployment, office })
    }

    pub(super) fn authority(&self, act: Act, on: impl Into<String>) -> Authority {
        Authority::of_the_host(act, on, &self.deployment.hand)
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.deployment.close().await
    }
}

/// The bundle, where one is named; else one that knows nobody.
fn bundle(dir: Option<&Path>) -> anyhow::Result<Loaded> {
    match dir {
        Some(dir) => Ok(load(dir)?),
        None => Ok(load_files(Vec::new())?),
    }
}

pub(crate) fn person(command: PersonCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            PersonCommand::Add(args) => add(args, out).await,
            PersonCommand::List(place) => {
                let opened = Opened::at(&place).await?;
                let (mut all, mut after) = (Vec::new(), None);
                loop {
                    let page = opened.office.people(after.as_ref(), PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.id.clone());
                    all.extend(page);
                }
                out.answer(&all, |to| {
                    let mut rows = vec![
                        ["PERSON", "STANDING", "ROLES", "GROUPS", "SUBJECT"].map(str::to_owned).to_vec(),
                    ];
                    rows.extend(all.iter().map(person_row));
                    columns(to, &rows)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            PersonCommand::Roles(args) => {
                let opened = Opened::at(&args.place).await?;
                let authority = opened.authority(Act::ChangePerson, format!("person:{}", args.id));
                let person =
                    opened.office.give_roles(&authority, &args.id, args.role.into_iter().collect()).await?;
                tell_person(&person, out)?;
                opened.close().await?;
                Ok(Exit::Done)
            }
        }
    })
}

fn standing(person: &KnownPerson) -> String {
    serde_json::to_value(person.standing)
        .ok()
        .and_then(|value| value.as_str().map(|text| text.replace('_', " ")))
        .unwrap_or_default()
}

fn person_row(person: &KnownPerson) -> Vec<String> {
    let joined = |all: Vec<String>| if all.is_empty() { "-".to_owned() } else { all.join(",") };
    vec![
        person.id.to_string(),
        standing(person),
        joined(person.roles.iter().cloned().collect()),
        joined(person.groups.iter().map(ToString::to_string).collect()),
        format!("{} of {}", person.subject, person.issuer),
    ]
}

fn tell_person(person: &KnownPerson, out: Output) -> anyhow::Result<()> {
    out.answer(person, |to| {
        let roles: Vec<&str> = person.roles.iter().map(String::as_str).collect();
        writeln!(
            to,
            "{} is {}; roles: {}",
            person.id,
            standing(person),
            if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
        )
    })
}

async fn add(args: PersonAddArgs, out: Output) -> anyhow::Result<Exit> {
    let opened = Opened::at(&args.place).await?;
    let new = NewPerson {
        id: args.id,
        issuer: args.issuer,
        subject: args.subject,
        name: args.name,
        mail: args.mail.into_iter().collect(),
        groups: BTreeSet::new(),
    };
    let mut person =
        opened.office.register(&opened.authority(Act::RegisterPerson, "deployment"), new).await?;
    if !args.role.is_empty() {
        let authority = opened.authority(Act::ChangePerson, format!("person:{}", person.id));
        person = opened.office.give_roles(&authority, &person.id, args.role.into_iter().collect()).await?;
    }
    tell_person(&person, out)?;
    opened.close().await?;
    Ok(Exit::Done)
}

pub(crate) fn agent(command: AgentCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            AgentCommand::List(args) => {
                let opened = Opened::at(&args.place).await?;
                let (mut all, mut after) = (Vec::new(), None);
                loop {
                    let page = opened.office.agents(after.as_ref(), PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.id.clone());
                    all.extend(page.into_iter().filter(|agent| !args.orphaned || agent.orphaned));
                }
                out.answer(&all, |to| {
                    let mut rows = vec![
                        ["AGENT", "STANDING", "OWNER", "SPONSORS", "PURPOSE"].map(str::to_owned).to_vec(),
                    ];
                    rows.extend(all.iter().map(agent_row));
                    columns(to, &rows)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            AgentCommand::Show(args) => {
                let opened = Opened::at(&args.place).await?;
                let agent = opened.office.agent(&args.id).await?;
                out.answer(&agent, |to| {
                    columns(to, &[agent_row(&agent)])?;
                    if let Some(proposal) = &agent.proposal {
                        writeln!(
                            to,
                            "proposed by {} at {}, to be approved as {}",
                            proposal.by, proposal.at, proposal.digest
                        )?;
                    }
                    agent
                        .keys
                        .iter()
                        .try_for_each(|(name, thumbprint)| writeln!(to, "key {name}: {thumbprint}"))
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
        }
    })
}

fn agent_row(agent: &KnownAgent) -> Vec<String> {
    let mut standing = agent.standing.as_str().to_owned();
    if agent.orphaned {
        standing.push_str(", ORPHANED");
    }
    vec![
        agent.id.to_string(),
        standing,
        agent.owner.to_string(),
        agent.sponsors.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        agent.purpose.clone(),
    ]
}

/// A new credential for a client.
#[derive(Serialize)]
struct MadeClient {
    token: String,
    client: StoredClient,
}

pub(crate) fn client(command: ClientCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            ClientCommand::Add(args) => add_client(args, out).await,
            ClientCommand::List(place) => {
                let opened = Opened::at(&place).await?;
                let all = opened.office.clients().await?;
                out.answer(&all, |to| {
                    let mut rows = vec![["CLIENT", "ROLES", "MADE"].map(str::to_owned).to_vec()];
                    rows.extend(all.iter().map(|client| {
                        let roles: Vec<&str> = client.roles.iter().map(String::as_str).collect();
                        vec![client.name.clone(), roles.join(","), client.made.at.to_string()]
                    }));
                    columns(to, &rows)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            ClientCommand::Remove(args) => {
                let opened = Opened::at(&args.place).await?;
                let authority = opened.authority(Act::RemoveClient, "deployment");
                opened.office.remove_client(&authority, &args.name).await?;
                out.answer(&serde_json::json!({ "removed": args.name }), |to| {
                    writeln!(to, "{} has no credential any more", args.name)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
        }
    })
}

async fn add_client(args: ClientAddArgs, out: Output) -> anyhow::Result<Exit> {
    let opened = Opened::at(&args.place).await?;
    let directory = args.issuer.map(|issuer| DirectorySettings {
        issuer,
        subject: match args.subject {
            SubjectAttr::ExternalId => SubjectAttribute::ExternalId,
            SubjectAttr::UserName => SubjectAttribute::UserName,
        },
    });
    let authority = opened.authority(Act::AddClient, "deployment");
    let made = opened
        .office
        .add_client(&authority, &args.name, args.role.into_iter().collect(), directory, None)
        .await?;
    let made = MadeClient { token: made.token, client: made.what };
    out.answer(&made, |to| {
        writeln!(to, "{}", made.token)?;
        writeln!(to, "It is shown this once. Send it as `Authorization: Bearer …`.")
    })?;
    opened.close().await?;
    Ok(Exit::Done)
}

/// For `login --as`: whoever has the data directory can be anybody in it, and the record says so.
pub(super) async fn session_on_host(
    place: &OfficePlace,
    person: &PersonId,
    lasts: std::time::Duration,
) -> anyhow::Result<warrantor_control::access::Made<warrantor_control::access::StoredSession>> {
    let opened = Opened::at(place).await?;
    let authority = opened.authority(Act::ReadPerson, format!("person:{person}"));
    let now = opened.office.now();
    let made = opened.office.begin_session(&authority, person, lasts, Some(now)).await?;
    opened.close().await?;
    Ok(made)
}
