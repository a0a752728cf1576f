//! The page at `/client`: two clients in a browser, to try a room by hand.
//!
//! Owns: what of the page is served, and what it may do in a browser. The page holds no secret and asks this node alone, as any
//! client does; so everybody may have it, also where rooms want a token. `script.js` is the TypeScript client with the page's own
//! code, made by `scripts/build-page`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, ContentType},
};

use super::problem;
use crate::wire::{Code, Refusal};

/// Its own script and style, and this node's rooms; nothing inline, nothing from elsewhere, in no frame.
const MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page consists of.
const FILES: [(&str, &str, &str); 3] = [
    ("script.js", "text/javascript; charset=utf-8", include_str!("client_page/script.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("client_page/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("client_page/icon.svg")),
];

/// `GET /client`
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, MAY))
        .body(include_str!("client_page/page.html"))
}

/// `GET /client/{file}`
pub(super) async fn file(request: HttpRequest) -> HttpResponse {
    let name = request.match_info().query("file");
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => HttpResponse::Ok().content_type(*kind).body(*content),
        None => problem::respond(&Refusal::new(Code::NotFound, "the page has no such file")),
    }
}
