//! The pages that a node serves: `/client`, two clients in a browser to try a room by hand, and `/console`, for who runs nodes.
//!
//! Owns: what of the pages is served, and what they may do in a browser. A page holds no secret and asks this node alone, as any
//! client does; so everybody may have it, also where rooms want a token. Each `script.js` is the TypeScript client with the page's
//! own code, made by `scripts/build-page`.

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{CONTENT_SECURITY_POLICY, ContentType},
};

use super::problem;
use crate::wire::{Code, Refusal};

/// Its own script and style, and this node's rooms; nothing inline, nothing from elsewhere, in no frame.
const MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A page and what it consists of.
struct Page {
    html: &'static str,
    /// Name, type and content.
    files: &'static [(&'static str, &'static str, &'static str)],
}

static CLIENT: Page = Page {
    html: include_str!("client_page/page.html"),
    files: &[
        ("script.js", SCRIPT, include_str!("client_page/script.js")),
        ("style.css", STYLE, include_str!("client_page/style.css")),
        ("icon.svg", PICTURE, include_str!("client_page/icon.svg")),
    ],
};

static CONSOLE: Page = Page {
    html: include_str!("console_page/index.html"),
    files: &[
        ("script.js", SCRIPT, include_str!("console_page/script.js")),
        ("style.css", STYLE, include_str!("console_page/style.css")),
        ("icon.svg", PICTURE, include_str!("client_page/icon.svg")),
    ],
};

/// `GET /client`
pub(super) async fn client() -> impl Responder {
    CLIENT.show()
}

/// `GET /client/{file}`
pub(super) async fn client_file(request: HttpRequest) -> impl Responder {
    CLIENT.file(&request)
}

/// `GET /console`
pub(super) async fn console() -> impl Responder {
    CONSOLE.show()
}

/// `GET /console/{file}`
pub(super) async fn console_file(request: HttpRequest) -> impl Responder {
    CONSOLE.file(&request)
}

impl Page {
    fn show(&self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((CONTENT_SECURITY_POLICY, MAY))
            .body(self.html)
    }

    fn file(&self, request: &HttpRequest) -> HttpResponse {
        let name = request.match_info().query("file");
        match self.files.iter().find(|(known, ..)| *known == name) {
            Some((_, kind, content)) => HttpResponse::Ok().content_type(*kind).body(*content),
            None => problem::respond(&Refusal::new(Code::NotFound, "the page has no such file")),
        }
    }
}
