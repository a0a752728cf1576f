//! What of a record can be read and believed: opens what is sealed, and checks signatures with the keys that the room has registered.
//!
//! Must not know: how it is printed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    auth::agent::{agent, agent_believing},
    client::{BaseUrl, ClientOptions, EndToEnd, Frame, Incoming, SealingKey, SigningKey, Subject, signing::verify},
    model::{
        TenantId,
        signing::{KeySet, SIGNING_KEY, Signature},
    },
    wire::kind::Kind,
};

use super::super::remote;

/// How long the node may take to say which keys somebody has.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is believed that somebody has no key of an id.
const BELIEVED: Duration = Duration::from_secs(5);
/// How many signers are remembered.
const SIGNERS: usize = 1_024;

/// Where keys are, and what is to be done with them.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// Sign your events with the key in this file, which `continuum key signing` makes
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Seal your events with the key in this file, which `continuum key sealing` makes, and open those of others
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    /// Check signatures against the keys that their signers have registered in the room
    #[arg(long)]
    verify: bool,
}

/// Keys, and those of others as far as they are known.
pub struct Letters {
    /// What is done to events before they leave.
    pub own: EndToEnd,
    ring: Option<Ring>,
}

impl Letters {
    /// Reads the key files.
    pub fn new(keys: &Keys, options: &ClientOptions, ca: Option<&Path>) -> anyhow::Result<Self> {
        let by = match &options.user {
            Some(user) => format!("user:{user}"),
            None => format!("instance:{}", options.instance),
        };
        let read = |file: &PathBuf| remote::token_in(file);
        let own = EndToEnd {
            tenant: options.tenant.clone(),
            instance: options.instance.clone(),
            signing: match &keys.sign_key {
                Some(file) => Some((SigningKey::from_jwk(&read(file)?).context("cannot use --sign-key")?, by)),
                None => None,
            },
            sealing: match &keys.seal_key {
                Some(file) => Some(SealingKey::from_jwk(&read(file)?).context("cannot use --seal-key")?),
                None => None,
            },
        };
        let ring = keys.verify.then(|| Ring::new(options, ca)).transpose()?;
        Ok(Self { own, ring })
    }

    /// Opens a record's content in its place, and says what is to be thought of it.
    pub async fn read(&mut self, frame: &mut Frame) -> Option<String> {
        let envelope = &mut frame.envelope;
        let Incoming::Record(place) = &frame.message else { return None };
        if Kind::of(&envelope.event_type) != Kind::Event {
            return None;
        }
        let (instance, event_type) = (envelope.instance_id.parse().ok()?, envelope.event_type.parse().ok()?);
        let (tenant, id) = (self.own.tenant.clone(), place.event_id);
        let subject = Subject::Event { tenant: &tenant, instance: &instance, id, event_type: &event_type };
        let mut words = Vec::new();
        // First the signature: it is over the content as it came.
        if let Some(ring) = &mut self.ring {
            words.push(match &envelope.sig {
                None => "not signed".to_owned(),
                Some(sig) => {
                    let content = serde_json::from_str(envelope.data.get()).unwrap_or_default();
                    let sig = serde_json::from_str(sig.get()).unwrap_or_default();
                    match ring.check(subject, &sig, &content).await {
                        Ok(by) => format!("signed by {by}"),
                        Err(why) => format!("NOT PROVEN: {why:#}"),
                    }
                }
            });
        }
        if self.own.sealing.is_some() {
            match self.own.open(subject, &envelope.data) {
                None => words.push("not sealed".to_owned()),
                Some(Ok(opened)) => envelope.data = opened,
                Some(Err(why)) => words.push(format!("NOT OPENED: {why}")),
            }
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Others' public keys.
struct Ring {
    url: BaseUrl,
    tenant: TenantId,
    token: Option<String>,
    agent: ureq::Agent,
    known: HashMap<String, (Instant, Option<KeySet>)>,
}

impl Ring {
    fn new(options: &ClientOptions, ca: Option<&Path>) -> anyhow::Result<Self> {
        let agent = match ca {
            Some(file) => agent_believing(PATIENCE, file).context("cannot use --ca")?,
            None => agent(PATIENCE),
        };
        let (url, tenant) = (options.url.clone(), options.tenant.clone());
        Ok(Self { url, tenant, token: options.token().map(str::to_owned), agent, known: HashMap::new() })
    }

    async fn check(&mut self, subject: Subject<'_>, sig: &Value, content: &Value) -> anyhow::Result<String> {
        let sig = Signature::of(sig)?;
        let keys = self.keys_for(&sig).await?.with_context(|| format!("{} has registered no keys", sig.by()))?;
        verify(subject, &sig, content, keys)?;
        Ok(sig.by().to_owned())
    }

    /// The signer's keys, asked for anew if the one that is needed is not among those that are known.
    async fn keys_for(&mut self, sig: &Signature) -> anyhow::Result<Option<&KeySet>> {
        let is_good = |(asked, keys): &(Instant, Option<KeySet>)| {
            asked.elapsed() < BELIEVED || keys.as_ref().is_some_and(|keys| keys.key(sig.kid()).is_some())
        };
        if !self.known.get(sig.by()).is_some_and(is_good) {
            let keys = self.ask(sig.by()).await?;
            if self.known.len() >= SIGNERS {
                self.known.clear();
            }
            self.known.insert(sig.by().to_owned(), (Instant::now(), keys));
        }
        Ok(self.known.get(sig.by()).and_then(|(_, keys)| keys.as_ref()))
    }

    async fn ask(&self, by: &str) -> anyhow::Result<Option<KeySet>> {
        let id = utf8_percent_encode(by, NON_ALPHANUMERIC);
        let url = self.url.http(&format!("/v1/tenants/{}/entities/{SIGNING_KEY}/{id}", self.tenant));
        let (agent, token) = (self.agent.clone(), self.token.clone());
        let asked = tokio::task::spawn_blocking(move || -> anyhow::Result<Option<Value>> {
            let request = agent.get(&url);
            let request = match token {
                Some(token) => request.header("Authorization", format!("Bearer {token}")),
                None => request,
            };
            let mut answer = request.call().context("cannot ask for keys")?;
            match answer.status().as_u16() {
                200 => Ok(Some(serde_json::from_str(&answer.body_mut().read_to_string()?)?)),
                404 | 410 => Ok(None),
                status => anyhow::bail!("the node does not tell the keys: {status}"),
            }
        });
        let Some(entity) = asked.await?? else { return Ok(None) };
        Ok(Some(KeySet::of(&entity["data"])?))
    }
}
