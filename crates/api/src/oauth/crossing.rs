//! Grants between domains (ID-JAG): asked for here for another domain, and redeemed here of another.

use std::{collections::BTreeMap, time::Duration};

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use warrantor_bundle::serve::{Said, TokensConfig};
use warrantor_control::{
    handover::{Agreed, Handed, HandoverError, Once},
    parts,
    tokens::{Arrived, Asked, Attempt, Client, Code, For, Grant, TokenError, receipt},
};
use warrantor_issuers::{Discovery, Issuer, IssuerError, IssuerSettings, SettingsError};
use warrantor_model::{AgentId, Digest};
use warrantor_store::Store;
use warrantor_tokens::{
    CROSSING_TOKEN_TYPE, Claims, Crossing, MandateDetails, Nonce, Part, Purpose, claimed, signed_digest,
};

use super::{OAuth, TokenAnswer, form::Form};
use crate::Api;

/// How long a domain's keys are kept, and how long they go on while it does not answer.
const KEEP: Duration = Duration::from_secs(10 * 60);
const KEEP_UNANSWERED: Duration = Duration::from_secs(60 * 60);
/// How far clocks may differ.
const LEEWAY: Duration = warrantor_control::tokens::LEEWAY;

/// The domains whose grants are taken, each with its keys.
pub(super) struct Domains(BTreeMap<String, Issuer>);

impl Domains {
    pub(super) fn new(settings: &TokensConfig) -> Result<Self, SettingsError> {
        let accepted = settings.domains.iter().filter(|domain| domain.accepts.is_some());
        let issuers = accepted.map(|domain| {
            let issuer = Issuer::new(IssuerSettings {
                issuer: domain.issuer.clone(),
                algorithms: domain.algorithms.clone(),
                discovery: Discovery::OAuth,
                certificates: domain.certificates.clone(),
                keep: KEEP,
                keep_unanswered: KEEP_UNANSWERED,
                leeway: LEEWAY,
            })?;
            Ok((domain.issuer.clone(), issuer))
        });
        Ok(Self(issuers.collect::<Result<_, SettingsError>>()?))
    }
}

fn unfit(why: impl Into<String>) -> TokenError {
    TokenError::refused(Code::InvalidAuthorizationDetails, why)
}

impl<S: Store> Api<S> {
    /// Gives a grant for another domain.
    pub(super) async fn cross(
        &self,
        oauth: &OAuth,
        asked: Asked<'_>,
        domain: &str,
    ) -> Result<TokenAnswer, TokenError> {
        let given = oauth.service.give(&self.office, asked, domain).await?;
        Ok(TokenAnswer {
            access_token: given.grant,
            issued_token_type: Some(CROSSING_TOKEN_TYPE),
            token_type: "N_A",
            expires_in: given.expires_in,
            refresh_token: None,
            authorization_details: given.says.part.as_ref().map(Part::claim).unwrap_or_default(),
        })
    }

    /// Makes an access token by a grant of another domain.
    pub(super) async fn redeem(
        &self,
        oauth: &OAuth,
        form: &Form,
        client: Client,
        headers: &HeaderMap,
        attempt: &mut Attempt,
    ) -> Result<TokenAnswer, TokenError> {
        let assertion = form.must("assertion")?;
        attempt.shown.push(Digest::of(assertion.as_bytes()));
        let digest = signed_digest(assertion);
        let place = match form.all("resource") {
            [] => None,
            _ => Some(form.must_once("resource")?),
        };
        let claims = self.grant_of_another(oauth, assertion).await?;
        let says = Crossing::read(&claims).map_err(|cause| does_not_hold(cause.to_string()))?;
        attempt.crossing = Some(receipt(&says, digest));
        let proof = self.proof(oauth, headers)?;
        let (service, now) = (&oauth.service, self.office.now());
        let arrived = service.arrived((says, digest), &client, place, proof.as_ref(), now)?;
        let audience = arrived.says().resource.clone().unwrap_or_default();
        attempt.audience = Some(audience.clone());
        let named = form.one("authorization_details").map(MandateDetails::parse).transpose();
        let named = named.map_err(|cause| unfit(cause.to_string()))?;
        // Before anything is made: nothing is handed on for a token that is not.
        let needs_proof = service.settings().resource(&audience).is_none_or(|resource| !resource.bearer);
        if needs_proof && proof.is_none() {
            let why = "a token for this place is bound to a key: send a proof in the header `DPoP`";
            return Err(TokenError::refused(Code::InvalidDpopProof, why));
        }
        let (_, accepts) = service.accepted(claims.issuer())?;
        let (whom, details) = match &accepts.said {
            Said::People if arrived.says().part.is_some() => {
                return Err(unfit(
                    "this domain speaks of people here: its grants hand no part of a mandate on",
                ));
            }
            Said::People => (self.person_of(&claims).await?, named),
            Said::Parts { .. } if named.is_some() => {
                return Err(unfit(
                    "what the token is for is said by the grant: send no authorization_details",
                ));
            }
            Said::Parts { .. } => {
                let (above, terms) = service.part_of(&arrived)?;
                let whom = self.part_here(&arrived, client.agent(), &above, &terms).await?;
                let mandate = match &whom {
                    For::Part { mandate, .. } => Some(mandate.clone()),
                    For::Person(_) => None,
                };
                (whom, mandate.map(|mandate| MandateDetails { mandate, locations: Vec::new() }))
            }
        };
        attempt.mandate = details.as_ref().map(|details| details.mandate.to_string());
        let grant = Grant::Crossing(Box::new(arrived.acting_for(whom)));
        let asked = Asked { grant, client, proof, audience: &audience, details };
        Ok(service.make(&self.office, asked).await?.into())
    }

    /// The claims of a grant whose signature is that of a domain whose grants are taken.
    async fn grant_of_another(&self, oauth: &OAuth, assertion: &str) -> Result<Claims, TokenError> {
        let issuer = claimed(assertion, "iss").map_err(|cause| does_not_hold(cause.to_string()))?;
        let issuer = issuer.ok_or_else(|| does_not_hold("it has no issuer".to_owned()))?;
        oauth.service.accepted(&issuer)?;
        let domain = oauth.domains.0.get(&issuer);
        let domain = domain.ok_or_else(|| does_not_hold("its issuer's keys are not known".to_owned()))?;
        let audience = [oauth.service.settings().issuer.clone()];
        match domain.verify(assertion, (Purpose::Crossing, &audience), Nonce::Absent, self.office.now()).await
        {
            Ok(claims) => Ok(claims),
            Err(IssuerError::Refused(cause)) => Err(does_not_hold(cause.to_string())),
            Err(cause @ IssuerError::Unavailable { .. }) => {
                Err(TokenError::Unavailable(format!("the domain {issuer} does not answer: {cause}")))
            }
        }
    }

    /// The person here of whom a grant speaks: by issuer and subject, and by nothing that can be given to somebody else.
    async fn person_of(&self, claims: &Claims) -> Result<For, TokenError> {
        let nobody =
            || TokenError::refused(Code::InvalidGrant, "the grant speaks of nobody who is active here");
        let provider =
            self.provider.as_ref().filter(|provider| provider.settings().issuer == claims.issuer());
        let subject = match provider {
            Some(provider) => provider.subject(claims),
            None => Some(claims.subject().to_owned()),
        };
        let person =
            self.office.who(claims.issuer(), &subject.ok_or_else(nobody)?).await?.ok_or_else(nobody)?;
        self.office.actor(&person).await?.ok_or_else(nobody)?;
        Ok(For::Person(person))
    }

    /// The part of a mandate here that a grant hands on: made when it is first said, and the same for as long as the same is said. So what it limits is
    /// counted over all tokens that are made for it.
    async fn part_here(
        &self,
        arrived: &Arrived,
        client: &AgentId,
        above: &AgentId,
        terms: &Map<String, Value>,
    ) -> Result<For, TokenError> {
        let above = self.office.mandate_for_domain(above).await?;
        let (document, of) = self.office.mandate_document(&above.id).await?;
        let document_of_part = parts::document(client, terms, &document, &of).map_err(unfit)?;
        let bundle = self.bundle();
        let part = bundle.narrowed(&document, &document_of_part).map_err(|report| {
            let all: Vec<String> = report.diagnostics().iter().map(ToString::to_string).collect();
            unfit(format!("the part is not within what {} has here: {}", above.agent, all.join("; ")))
        })?;
        let says = arrived.says();
        let home = says.part.as_ref().map(|part| part.mandate.as_str()).unwrap_or_default();
        // Limits count over everything that a mandate at home ever hands on, whoever redeems it and whatever it is under here.
        let said = Digest::of(format!("{} {}", above.id, document_of_part.digest()).as_bytes());
        let once = Once::new(&says.issuer, &format!("part {home}"), said);
        let once = once.map_err(|cause| TokenError::Unavailable(cause.to_string()))?;
        let agreed = Agreed { once: Some(once), begins_task: true, ..Agreed::default() };
        let evidence = format!("the grant {} of {}", short(&says.id), short(&says.issuer));
        let desk = self.desk(&bundle, evidence);
        let made = async {
            if let Some(handed) = desk.handed_before(&agreed).await? {
                return Ok(handed);
            }
            desk.note_bundle().await?;
            match desk.delegate_under(&above.id, of.depth, &part, &agreed).await {
                // Another request of the same was first.
                Err(HandoverError::Contended { template }) => {
                    desk.handed_before(&agreed).await?.ok_or(HandoverError::Contended { template })
                }
                other => other,
            }
        };
        let handed: Handed = made.await.map_err(|cause| match cause {
            HandoverError::Refused { why, .. } => TokenError::refused(Code::InvalidGrant, why),
            HandoverError::Reused => TokenError::refused(
                Code::InvalidAuthorizationDetails,
                "the same mandate was handed on before in other words, to another client or under another mandate here: hand it over anew at home",
            ),
            cause => TokenError::Unavailable(format!("the part could not be handed on: {cause}")),
        })?;
        Ok(For::part(handed.mandate, &above))
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// What a grant is refused with that does not hold: why is for the operator, since whoever made it has its own log.
fn does_not_hold(detail: String) -> TokenError {
    TokenError::Refused {
        code: Code::InvalidGrant,
        why: "the grant does not hold: see its issuer, its audience, its times and what it was made for"
            .to_owned(),
        detail: Some(detail),
    }
}
