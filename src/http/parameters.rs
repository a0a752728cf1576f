//! Query parameters, turned into checked values.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use uuid::Uuid;

use crate::{
    actors::{
        outlet::{Echo, Options},
        session::Request,
    },
    auth::Grant,
    model::{IdError, TenantId, filter::TypeFilter, resume::Since},
    wire::{Code, Deltas, Envelope, Refusal, Variant},
};

/// Greatest number of capabilities, and of bytes in each.
const CAPABILITIES: usize = 32;
const CAPABILITY_BYTES: usize = 64;
/// Greatest length of a user's id or name, in bytes.
const NAME_BYTES: usize = 128;
/// The tenant of clients that name none, where nobody has to prove anything.
pub(super) const DEFAULT_TENANT: &str = "default";

/// A query string by name; of a repeated name the first counts.
pub(super) struct Parameters<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    pub(super) fn read(query: &'a str) -> Self {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name).or_insert(value);
        }
        Self(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!("'{name}' must be a whole number from {least} to {most}"))),
        }
    }

    /// Something that is off unless it is asked for.
    fn switch(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("" | "0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(wrong(format!("'{name}' must be 0 or 1"))),
        }
    }

    /// A place in the log, under the name that the request has for it.
    pub(super) fn since(&self, name: &str) -> Result<Since, Refusal> {
        match self.get(name) {
            None | Some("") => Ok(Since::Instance),
            Some(text) => Since::parse(text)
                .ok_or_else(|| wrong(format!("'{name}' must be a cursor, 'earliest', 'latest' or an RFC 3339 time"))),
        }
    }
}

/// Who a request of `auth.mode = none` says it is; `envelope` says what may be left out.
fn grant(parameters: &Parameters<'_>, envelope: Envelope) -> Result<(Grant, Kept), Refusal> {
    let (tenant_id, instance_id) = (parameters.get("tenant_id"), parameters.get("instance_id"));
    let (tenant_id, instance_id, kept) = match envelope {
        Envelope::Sync => (tenant_id.unwrap_or_default(), instance_id.unwrap_or_default().to_owned(), Kept::Yes),
        // These clients say who they are by a token. Without one they all are of one tenant, each a newcomer.
        Envelope::Typed => match instance_id.or(parameters.get("device_id")) {
            Some(instance) => (tenant_id.unwrap_or(DEFAULT_TENANT), instance.to_owned(), Kept::Yes),
            None => (tenant_id.unwrap_or(DEFAULT_TENANT), Uuid::new_v4().to_string(), Kept::No),
        },
    };
    let instance = instance_id.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?;
    let (user, name) = (named(parameters, "user_id")?, named(parameters, "user_name")?);
    Ok((Grant::unauthenticated(tenant(tenant_id)?, instance).acting_for(user, name), kept))
}

/// Whether an instance can come back under its name, so that its place is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

fn named(parameters: &Parameters<'_>, name: &str) -> Result<Option<Arc<str>>, Refusal> {
    match parameters.get(name) {
        None | Some("") => Ok(None),
        Some(text) if text.len() > NAME_BYTES || text.chars().any(char::is_control) => {
            Err(wrong(format!("'{name}' must have at most {NAME_BYTES} bytes and no control characters")))
        }
        Some(text) => Ok(Some(text.into())),
    }
}

/// What a WebSocket handshake asks for.
pub(super) fn session_request(query: &str, envelope: Envelope) -> Result<Request, Refusal> {
    let parameters = Parameters::read(query);
    let (grant, kept) = grant(&parameters, envelope)?;
    let filter = TypeFilter::parse(parameters.get("types").unwrap_or_default())
        .map_err(|error: IdError| Refusal::of_name(Code::InvalidParameter, &error))?;
    let echo = if parameters.switch("echo")? { Echo::On } else { Echo::Off };
    let deltas = if parameters.switch("deltas")? { Deltas::On } else { Deltas::Off };
    let preview = parameters.number("preview", 1, 1_000_000)?.map(|limit| limit as u32);
    let since = match (parameters.since("since")?, kept) {
        (Since::Instance, Kept::No) => Since::Latest,
        (since, _) => since,
    };
    Ok(Request {
        grant,
        since,
        requested: parameters.get("since").unwrap_or_default().to_owned(),
        options: Options { filter, echo, variant: Variant { envelope, deltas, preview }, channels: None },
        capabilities: capabilities(parameters.get("capabilities").unwrap_or_default())?,
    })
}

/// A tenant from a path or a query.
pub(super) fn tenant(text: &str) -> Result<TenantId, Refusal> {
    text.parse().map_err(|error| Refusal::of_name(Code::InvalidTenant, &error))
}

fn capabilities(text: &str) -> Result<Vec<Box<str>>, Refusal> {
    let words: Vec<Box<str>> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Box::from).collect();
    let fits = |word: &str| word.len() <= CAPABILITY_BYTES && !word.chars().any(char::is_control);
    if words.len() > CAPABILITIES || !words.iter().all(|word| fits(word)) {
        let message = format!("'capabilities' may hold {CAPABILITIES} words of at most {CAPABILITY_BYTES} bytes");
        return Err(wrong(message));
    }
    Ok(words)
}

fn wrong(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidParameter, message)
}
