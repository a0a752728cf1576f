//! The listening side: one port for HTTP and WebSocket.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
};

use actix_http::{Extensions, HttpService, error::DispatchError};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    App, HttpRequest, HttpResponse, Resource,
    body::{BoxBody, EitherBody},
    dev::AppConfig,
    http::header::{self, HeaderValue},
    middleware::from_fn,
    web::{self, Data},
};
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Type};

use super::{
    admin, browsers, conflicts, entities, erasures, events, exports, history, imports, operations, probes,
    probes::ProcessFigures,
    problem, reports, snapshot,
    socket::{Socket, set_options},
    status,
    strangers::Strangers,
    stream, survey, tenants,
    tls::Certificate,
    upgrade, versions, web_pages,
};
use crate::{
    actors::{context::NodeContext, session::Addresses, transport::Transport},
    wire::{Code, Refusal},
};

/// Where an entity is. Its parts are read from the path as it came: see `asker::address`.
const ENTITY: &str = "/v1/tenants/{tenant}/entities/{type}/{id}";

/// What request handlers share.
#[derive(Debug)]
pub struct Shared {
    /// The node.
    pub context: Arc<NodeContext>,
    /// Its actors.
    pub addresses: Arc<Addresses>,
    /// Its figures, by name.
    pub registry: Registry,
    /// What it costs.
    pub process: ProcessFigures,
    /// Tenants that come as files.
    pub imports: imports::Imports,
    /// Questions about what goes on.
    pub surveys: survey::Surveys,
}

/// Binds the configured address.
///
/// # Errors
///
/// Names the address: it does not resolve, is taken, or may not be bound.
pub fn bind(host: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"));
    let address = (host, port).to_socket_addrs().map_err(named)?.next();
    let address = address.ok_or_else(|| named(io::ErrorKind::AddrNotAvailable.into()))?;
    listen(address, backlog).map_err(named)
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts serving; the returned server has to be awaited.
///
/// # Errors
///
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, tls: Option<Certificate>, shared: Shared) -> io::Result<Server> {
    let shared = Data::new(shared);
    let server = &shared.context.config.server;
    let workers = if server.workers == 0 { num_cpus() } else { server.workers };
    let (backlog, patience) = (server.backlog, server.handshake_timeout);
    let tls = tls.map(Arc::new);
    if let Some(tls) = &tls {
        actix_rt::spawn(tls.clone().watch());
    }
    Ok(Server::build()
        .workers(workers)
        .backlog(backlog)
        .disable_signals()
        .shutdown_timeout(1)
        .listen("continuum", listener, move || {
            let shared = shared.clone();
            let context = shared.context.clone();
            let upgrade = upgrade::service(context.clone(), shared.addresses.clone());
            let http = HttpService::build()
                .client_request_timeout(patience)
                .client_disconnect_timeout(patience)
                .on_connect_ext(|socket: &Socket, seen: &mut Extensions| {
                    seen.insert(socket.peer());
                })
                .upgrade(upgrade)
                .h1(map_config(app(shared), |()| AppConfig::default()));
            let tls = tls.clone();
            let strangers = Strangers::new(context.clone(), workers);
            fn_service(move |stream: TcpStream| {
                set_options(&stream, &context);
                let (tls, context, stranger) = (tls.clone(), context.clone(), strangers.take_in());
                async move {
                    let transport = match tls {
                        None => Transport::Plain(stream),
                        // In a box of its own: its state is large, and plain connections shall not carry it.
                        Some(tls) => Box::pin(tls.accept(stream, &stranger)).await.map_err(|error| {
                            context.metrics.tls_failed.inc();
                            DispatchError::Io(error)
                        })?,
                    };
                    let socket = Socket::new(transport, stranger, context);
                    let address = socket.address();
                    Ok((socket, address))
                }
            })
            .and_then(http)
        })?
        .run())
}

fn num_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn app(
    shared: Data<Shared>,
) -> App<
    impl actix_service::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<EitherBody<BoxBody>>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(shared)
        .wrap(from_fn(browsers::watch))
        .service(resource("/", "GET").route(web::get().to(reports::index)))
        .service(resource("/openapi.json", "GET").route(web::get().to(reports::description)))
        .service(resource("/client", "GET").route(web::get().to(web_pages::client)))
        .service(resource("/client/{file}", "GET").route(web::get().to(web_pages::client_file)))
        .service(resource("/console", "GET").route(web::get().to(web_pages::console)))
        .service(resource("/console/{file}", "GET").route(web::get().to(web_pages::console_file)))
        .service(resource("/healthz", "GET").route(web::get().to(probes::health)))
        .service(resource("/readyz", "GET").route(web::get().to(probes::readiness)))
        .service(resource("/metrics", "GET").route(web::get().to(probes::metrics)))
        .service(resource("/v1/stats", "GET").route(web::get().to(reports::node_stats)))
        .service(resource("/v1/tenants/{tenant}", "DELETE").route(web::delete().to(erasures::delete)))
        .service(resource("/v1/tenants/{tenant}/export", "GET").route(web::get().to(exports::get)))
        .service(resource("/v1/tenants/{tenant}/import", "POST").route(web::post().to(imports::post)))
        .service(resource("/v1/erasures/{receipt}", "GET").route(web::get().to(erasures::look)))
        .service(resource("/v1/tenants/{tenant}/stats", "GET").route(web::get().to(reports::tenant_stats)))
        .service(resource("/v1/tenants/{tenant}/instances", "GET").route(web::get().to(reports::instances)))
        .service(
            resource("/v1/tenants/{tenant}/events", "GET, POST")
                .route(web::post().to(events::publish))
                .route(web::get().to(history::history)),
        )
        .service(resource("/v1/tenants/{tenant}/stream", "GET").route(web::get().to(stream::open)))
        .service(resource("/api/v4/ws/status", "GET").route(web::get().to(status::status)))
        .service(resource("/v1/tenants/{tenant}/operations", "POST").route(web::post().to(operations::apply)))
        .service(resource("/v1/tenants/{tenant}/snapshot", "GET").route(web::get().to(snapshot::get)))
        .service(resource("/v1/tenants/{tenant}/conflicts", "GET").route(web::get().to(conflicts::list)))
        .service(
            resource(ENTITY, "GET, PUT, PATCH, DELETE")
                .route(web::get().to(entities::get))
                .route(web::put().to(entities::put))
                .route(web::patch().to(entities::patch))
                .route(web::delete().to(entities::delete)),
        )
        .service(resource(&format!("{ENTITY}/versions"), "GET").route(web::get().to(versions::get)))
        .service(resource(&format!("{ENTITY}/conflicts"), "GET").route(web::get().to(conflicts::of_entity)))
        .service(resource(&format!("{ENTITY}/conflicts/{{conflict}}"), "POST").route(web::post().to(entities::settle)))
        .service(
            resource("/v1/admin/keys", "GET, POST")
                .route(web::post().to(admin::create))
                .route(web::get().to(admin::list)),
        )
        .service(resource("/v1/tickets", "POST").route(web::post().to(admin::ticket)))
        .service(resource("/v1/admin/keys/{id}", "DELETE").route(web::delete().to(admin::revoke_key)))
        .service(resource("/v1/admin/revocations", "POST").route(web::post().to(admin::revoke)))
        .service(
            resource("/v1/admin/tenants/{tenant}/limits", "GET, PUT")
                .route(web::get().to(tenants::limits))
                .route(web::put().to(tenants::set_limits)),
        )
        .service(resource("/v1/admin/nodes", "GET").route(web::get().to(survey::nodes)))
        .service(resource("/v1/admin/rooms", "GET").route(web::get().to(survey::rooms)))
        .service(resource("/v1/admin/sessions", "GET").route(web::get().to(survey::sessions)))
        .service(resource("/v1/admin/journal", "GET").route(web::get().to(survey::journal)))
        .service(resource("/v1/admin/shards", "GET").route(web::get().to(survey::shards)))
        .service(resource("/ws", "GET").route(web::get().to(upgrade_required)))
        .service(resource("/ws/sync", "GET").route(web::get().to(upgrade_required)))
        .default_service(web::to(not_found))
}

/// A path and its methods, as `Allow` has them (RFC 9110, 10.2.1); others are answered as such.
fn resource(path: &str, methods: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || method_not_allowed(methods)))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    let message = if request.path().starts_with("/ws") {
        "no such path; rooms are at /ws/sync and /ws"
    } else {
        "no such path; GET / lists them"
    };
    problem::respond(&Refusal::new(Code::NotFound, message))
}

async fn method_not_allowed(methods: &'static str) -> HttpResponse {
    let message = format!("this path exists, but not for this method; it has {methods}");
    let mut response = problem::respond(&Refusal::new(Code::MethodNotAllowed, message));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

async fn upgrade_required() -> HttpResponse {
    problem::respond(&Refusal::new(Code::UpgradeRequired, "this path wants a WebSocket upgrade"))
}
