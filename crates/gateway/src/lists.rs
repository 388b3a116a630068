//! What a server lists: compared with what was reviewed, and cut down to what the task could use.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Era, Fragment, Id, Meta,
    params::ListParams,
    rpc,
    tools::{List, OfferList, definition_digest},
};
use warrantor_model::{Definition, Json, Manifest, Offer, ToolName, UriRule};

use crate::{
    definitions::{Definitions, Listing, MAX_LISTINGS, MAX_PAGES, PINNED},
    exchange::{Exchange, Reply},
    upstream::{Answer, NoAnswer, Said},
};

/// Most resources of one page that are shown: whether each could be read is decided one by one.
const MAX_RESOURCES: usize = 500;

impl<P: DecisionPoint> Exchange<P> {
    /// A page of a list of the upstream, filtered by what the task could use and what is exactly as reviewed.
    pub(crate) async fn list(&self, id: &Id<'_>, era: Era, of: List, params: Option<&RawValue>) -> Reply {
        let params = match ListParams::parse(params) {
            Ok(params) => params,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        if let Some(cursor) = params.cursor.as_deref()
            && !self.gave_out(of, cursor)
        {
            return Reply::error(
                id,
                rpc::INVALID_PARAMS,
                "this cursor was not given out: list from the start",
            );
        }
        if let Err(why) = self.definitions_fresh().await {
            return Reply::error(id, rpc::INTERNAL_ERROR, why);
        }
        let granted = self.granted().await;
        let answer = self.ask_page(of.method(), params.cursor.as_deref(), &params.meta).await;
        let readable = match of {
            List::Resources => self.readable(&answer, &granted).await,
            _ => BTreeSet::new(),
        };
        let mut definitions = self.definitions.lock().await;
        let reply = self.relay(id, &answer, |result| {
            let list = OfferList::parse(of, result).map_err(|cause| cause.to_string())?;
            if let Some(cursor) = list.next_cursor() {
                self.remember_cursor(of, cursor);
            }
            let fragment = match PINNED.iter().find(|(list, _)| *list == of) {
                Some((_, offer)) => self.pinned_page(era, *offer, &list, &granted, &mut definitions),
                None => self.resource_page(era, of, &list, &granted, &readable),
            };
            Ok((fragment, ()))
        });
        drop(definitions);
        reply.map_or_else(|reply| reply, |(line, ())| Reply::Line(line))
    }

    /// Tools or prompts: those that are granted and as they were reviewed. The page is judged itself, so that nothing slips in between two listings.
    fn pinned_page(
        &self,
        era: Era,
        offer: Offer,
        list: &OfferList<'_>,
        granted: &BTreeSet<ToolName>,
        definitions: &mut Definitions,
    ) -> Fragment<'static> {
        let mut page = Listing::default();
        let revision = self.engine.snapshot().revision();
        page.page(self.engine.snapshot().manifest(&self.settings.server), offer, list);
        let fragment = list.filtered(era, |entry| {
            let shown = ToolName::of(offer, &entry.name).is_ok_and(|name| granted.contains(&name))
                && page.is_as_pinned(offer, &entry.name)
                && definitions.of(offer, &entry.name, revision) == Definition::AsPinned;
            shown.then(|| Fragment::from(entry.raw))
        });
        definitions.see(&page);
        fragment
    }

    /// Resources that could be read now, and templates of such, as they were reviewed. Others are not told, though they may be read: what a list says is
    /// in no history.
    fn resource_page(
        &self,
        era: Era,
        of: List,
        list: &OfferList<'_>,
        granted: &BTreeSet<ToolName>,
        readable: &BTreeSet<String>,
    ) -> Fragment<'static> {
        let snapshot = self.engine.snapshot();
        let Some(manifest) = snapshot.manifest(&self.settings.server) else {
            return list.filtered(era, |_| None);
        };
        let is_shown = |name: &str| match of {
            List::Templates => {
                let wanted = UriRule::Template(name.to_owned());
                manifest.uris.iter().any(|(known, rule)| *rule == wanted && granted.contains(known))
            }
            _ => readable.contains(name),
        };
        list.filtered(era, |entry| {
            if !is_shown(&entry.name) {
                return None;
            }
            let present = Json::parse(entry.raw.get().as_bytes()).ok();
            let present = present.and_then(|entry| definition_digest(&entry).ok());
            let reviewed = present.is_some() && manifest.listed.get(entry.name.as_ref()).copied() == present;
            reviewed.then(|| Fragment::from(entry.raw))
        })
    }

    /// The URIs of a page that could be read now.
    async fn readable(
        &self,
        answer: &Result<Answer, NoAnswer>,
        granted: &BTreeSet<ToolName>,
    ) -> BTreeSet<String> {
        let Ok(Ok(Said::Result(result))) = answer.as_ref().map(|a| a.said(&self.settings.upstream_limits))
        else {
            return BTreeSet::new();
        };
        let Ok(list) = OfferList::parse(List::Resources, result) else { return BTreeSet::new() };
        let mut readable = BTreeSet::new();
        for entry in list.entries().iter().take(MAX_RESOURCES) {
            let known = self.engine.snapshot().resource(&self.settings.server, &entry.name);
            if known.is_some_and(|known| granted.contains(&known.tool))
                && let Some(reading) = self.reading("resources/read", &entry.name)
                && self.engine.would(&reading).await.is_ok()
            {
                readable.insert(entry.name.to_string());
            }
        }
        readable
    }

    /// Sees to it that the server's definitions have been compared with their pins.
    pub(crate) async fn definitions_fresh(&self) -> Result<(), String> {
        // Everybody waits for one listing, and none longer than for an answer: a server that does not answer must not keep a queue of them.
        tokio::time::timeout(self.settings.request_timeout, self.make_definitions_fresh())
            .await
            .unwrap_or_else(|_| Err("the tool server did not list its tools in time".to_owned()))
    }

    async fn make_definitions_fresh(&self) -> Result<(), String> {
        let mut definitions = self.definitions.lock().await;
        let snapshot = self.engine.snapshot();
        let Some(manifest) = snapshot.manifest(&self.settings.server) else { return Ok(()) };
        let mut noted = None;
        for _ in 0..MAX_LISTINGS {
            if definitions.is_fresh(snapshot.revision()) {
                break;
            }
            let news = definitions.news();
            let listing = self.whole_listing(manifest).await?;
            noted = definitions.learn(manifest, listing, (news, snapshot.revision())).or(noted);
        }
        // Once, however often it changed meanwhile.
        if let Some((record, said)) = noted {
            if !record.is_clean() {
                tracing::warn!(changed = ?record.changed, unknown = ?record.unknown, missing = ?record.missing, "the tool server's definitions differ from the manifest");
            }
            self.engine.note_definitions(&self.settings.server, record, said);
        }
        if definitions.is_fresh(snapshot.revision()) {
            return Ok(());
        }
        Err(format!(
            "the tool server said {MAX_LISTINGS} times that its lists changed while they were asked for"
        ))
    }

    /// Every page of the server's tools, compared with the pins.
    async fn whole_listing(&self, manifest: &Manifest) -> Result<Listing, String> {
        let meta_text = self.handshake().modern_meta.clone();
        let raw: Option<Box<RawValue>> = meta_text.and_then(|text| RawValue::from_string(text).ok());
        let meta = match &raw {
            Some(raw) => Meta::parse(raw).map_err(|cause| cause.to_string())?,
            None => Meta::default(),
        };
        let mut listing = Listing::default();
        for (of, offer) in PINNED.into_iter().filter(|(of, _)| self.has(*of)) {
            self.all_pages(of, &meta, |list| listing.page(Some(manifest), offer, list)).await?;
        }
        Ok(listing)
    }

    async fn all_pages(
        &self,
        of: List,
        meta: &Meta<'_>,
        mut see: impl FnMut(&OfferList<'_>),
    ) -> Result<(), String> {
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let answer =
                self.ask_page(of.method(), cursor.as_deref(), meta).await.map_err(|c| c.to_string())?;
            let result = match answer.said(&self.settings.upstream_limits)? {
                Said::Result(result) => result,
                Said::Error(error) => {
                    tracing::warn!(
                        code = rpc::code_of(error),
                        method = of.method(),
                        "the tool server does not list what it offers"
                    );
                    return Err("the tool server does not list what it offers".to_owned());
                }
            };
            let list = OfferList::parse(of, result).map_err(|cause| {
                tracing::warn!(%cause, method = of.method(), "the tool server's list was not taken");
                "the tool server's list is not as the protocol demands".to_owned()
            })?;
            see(&list);
            cursor = list.next_cursor().map(str::to_owned);
            if cursor.is_none() {
                return Ok(());
            }
        }
        Err(format!("the tool server's list has more than {MAX_PAGES} pages"))
    }
}
