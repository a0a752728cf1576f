//! The protocol's methods. Owns: what is answered to whom in which form of the protocol.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
        ErrorCode, Implementation, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        Resource, ResourceContents, ResourceTemplate, ResourceUpdatedNotificationParam, ServerCapabilities,
        ServerConfig, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{Peer, RequestContext, SubscriptionContext},
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    arguments::{self, Call},
    asking::{self, Asked},
    catalogue, metrics,
    notebook::{Done, Failed, Notebook},
    resources,
};
use crate::replica::{Replica, StoreError};

/// Most resources on a page.
const PAGE: usize = 100;
/// Most resources that one connection may want to hear of.
const SUBSCRIPTIONS: usize = 256;
/// How long what is listed may be taken for true, in milliseconds: it is kept up to date by notices.
const FRESH_MS: u64 = 5_000;

/// One connection to a client, or what serves clients without one.
#[derive(Clone)]
pub struct Server {
    notebook: Notebook,
    wanted: Arc<Wanted>,
    moved: watch::Receiver<u64>,
}

/// What a connection of the older form wants to hear of.
#[derive(Default)]
struct Wanted {
    addresses: Mutex<BTreeSet<String>>,
    /// Who tells it, from the first wish on.
    telling: OnceLock<DropGuard>,
}

impl Server {
    /// Serves a notebook.
    pub fn new(notebook: Notebook) -> Self {
        let (to, moved) = watch::channel(0);
        let replica = notebook.replica().clone();
        tokio::spawn(async move {
            while !to.is_closed() {
                if let Ok(last) = replica.last_change().await {
                    to.send_if_modified(|known| std::mem::replace(known, last) != last);
                }
                tokio::select! {
                    () = to.closed() => {}
                    () = replica.moved() => {}
                }
            }
        });
        Self { notebook, wanted: Arc::default(), moved }
    }

    /// What it came to so far, for Prometheus.
    ///
    /// # Errors
    ///
    /// In words: it cannot be read.
    pub(super) async fn figures(&self) -> Result<String, String> {
        let replica = self.notebook.replica();
        let figures = replica.figures().await.map_err(|error| error.to_string())?;
        let status = replica.status().await.map_err(|error| error.to_string())?;
        Ok(metrics::text(&figures, &status))
    }

    /// Another connection's.
    pub fn another(&self) -> Self {
        Self { notebook: self.notebook.clone(), wanted: Arc::default(), moved: self.moved.clone() }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Whole between any two statements that could panic.
        self.wanted.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a connection of the older form what changed of that which it wants to hear of, for as long as it is served.
    fn tell(&self, peer: Peer<RoleServer>) -> DropGuard {
        let gone = CancellationToken::new();
        let (over, wanted) = (gone.clone(), Arc::downgrade(&self.wanted));
        let (replica, mut moved) = (self.notebook.replica().clone(), self.moved.clone());
        let mut told = *moved.borrow_and_update();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = over.cancelled() => return,
                    moved = moved.changed() => if moved.is_err() { return },
                }
                let Some(wanted) = wanted.upgrade() else { return };
                let wanted = wanted.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let Ok(changed) = changed(&replica, &mut told).await else { continue };
                for address in changed.into_iter().filter(|address| wanted.contains(address)) {
                    // It will read it when it looks.
                    let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(address)).await;
                }
            }
        });
        gone.drop_guard()
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if !catalogue::TOOLS.iter().any(|tool| tool.name == request.name) {
            return Err(ErrorData::invalid_params(format!("there is no tool '{}'", request.name), None));
        }
        if let Some((open, said)) = asking::repeated(&request)? {
            let left = Done::left(&open.id);
            let done = match said {
                Asked::Chosen(choice) => self.notebook.settle(&open, choice, left).await,
                _ => left,
            };
            return self.answer(done).await;
        }
        let call = match arguments::read(&request.name, request.arguments) {
            Ok(call) => call,
            Err(wrong) => return Ok(refused(&wrong)),
        };
        let mut done = match self.notebook.call(call).await {
            Ok(done) => done,
            Err(failed @ (Failed::Wrong(_) | Failed::Write(_))) => return Ok(refused(&failed.to_string())),
            Err(Failed::Store(error)) => return Err(internal(error)),
        };
        if let Some(open) = done.conflict.take() {
            match asking::ask(&cx, &open).await {
                Asked::Chosen(choice) => done = self.notebook.settle(&open, choice, done).await,
                Asked::First(question) => return Ok((*question).into()),
                Asked::Left | Asked::Cannot => {}
            }
        }
        self.answer(done).await
    }

    async fn answer(&self, done: Done) -> Result<CallToolResponse, ErrorData> {
        let done = self.notebook.finish(done).await.map_err(internal)?;
        let told = Value::Object(done.told);
        let result =
            if done.is_error { CallToolResult::structured_error(told) } else { CallToolResult::structured(told) };
        Ok(result.into())
    }
}

/// Addresses of all that changed behind a place, each once; the place moves on.
async fn changed(replica: &Replica, told: &mut u64) -> Result<Vec<String>, StoreError> {
    let (keys, last) = replica.touched("context", *told).await?;
    *told = last;
    Ok(keys.iter().filter_map(|key| resources::address(&key.kind, &key.id)).collect())
}

fn refused(why: &str) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(why)]).into()
}

fn internal(error: impl ToString) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let can = ServerCapabilities::builder().enable_tools().enable_resources().enable_resources_subscribe().build();
        ServerConfig::new(can)
            .with_server_info(Implementation::new("continuum", env!("CARGO_PKG_VERSION")).with_title("Continuum"))
            .with_instructions(catalogue::INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = ListToolsResult::with_all_items(catalogue::TOOLS.clone());
        Ok(tools.with_ttl_ms(3_600_000).with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let cancelled = cx.ct.clone();
        tokio::select! {
            // What is written stays written; there is nobody to tell.
            () = cancelled.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
            done = self.call(request, cx) => done,
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let after = request.and_then(|request| request.cursor).unwrap_or_default();
        let seen = self.notebook.replica().list("context", "", &after, PAGE).await.map_err(internal)?;
        let next = if seen.len() == PAGE { seen.last().map(|seen| seen.entity_id.clone()) } else { None };
        let resources = seen.iter().filter_map(|seen| {
            let address = resources::address(&seen.entity_type, &seen.entity_id)?;
            Some(Resource::new(address, seen.entity_id.clone()).with_mime_type("application/json"))
        });
        let mut listed = ListResourcesResult::with_all_items(resources.collect());
        listed.next_cursor = next;
        Ok(listed.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new(resources::TEMPLATE, "context").with_mime_type("application/json");
        let listed = ListResourceTemplatesResult::with_all_items(vec![template]);
        Ok(listed.with_ttl_ms(3_600_000).with_cache_scope(CacheScope::Public))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let nothing = |why: String| ErrorData::resource_not_found(why, Some(json!({"uri": request.uri.clone()})));
        let key = resources::key(&request.uri).map_err(nothing)?;
        let mut done = self.notebook.call(Call::Get(key)).await.map_err(internal)?;
        if done.told.get("found") != Some(&Value::Bool(true)) {
            return Err(nothing("there is no such context".to_owned()));
        }
        self.notebook.goes_out(&mut done);
        let text = Value::Object(done.told).to_string();
        let contents = ResourceContents::text(text, request.uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Private).into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::key(&request.uri).map_err(|why| ErrorData::invalid_params(why, None))?;
        {
            let mut wanted = self.wanted();
            if wanted.len() >= SUBSCRIPTIONS && !wanted.contains(&request.uri) {
                let message = format!("a connection may follow {SUBSCRIPTIONS} resources");
                return Err(ErrorData::invalid_params(message, None));
            }
            wanted.insert(request.uri);
        }
        self.wanted.telling.get_or_init(|| self.tell(cx.peer));
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.wanted().remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        if let Some(wanted) = &mut accepted.resource_subscriptions {
            wanted.retain(|address| resources::key(address).is_ok());
            wanted.truncate(SUBSCRIPTIONS);
        }
        Some(accepted)
    }

    async fn listen(&self, cx: SubscriptionContext) -> Result<(), ErrorData> {
        let mut moved = self.moved.clone();
        let mut told = *moved.borrow_and_update();
        loop {
            tokio::select! {
                () = cx.cancelled() => return Ok(()),
                changed = moved.changed() => if changed.is_err() { return Ok(()) },
            }
            moved.mark_unchanged();
            for address in changed(self.notebook.replica(), &mut told).await.map_err(internal)? {
                // What was not asked for the sink leaves out; what it cannot say will be read when somebody looks.
                let _ = cx.sink().notify_resource_updated(address).await;
            }
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        // A method that is known with parameters of another form comes as one that is not.
        let is_known = matches!(
            &*request.method,
            "tools/call" | "tools/list" | "resources/read" | "resources/list" | "resources/subscribe" | "initialize"
        );
        Err(if is_known {
            ErrorData::invalid_params(format!("the parameters of {} have another form", request.method), None)
        } else {
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None)
        })
    }
}
