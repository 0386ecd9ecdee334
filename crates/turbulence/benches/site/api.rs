//! The performance that the API promises: pages at any depth, a page of the site in one request,
//! responses that the client has cached, and tokens that were verified before.

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use models::Sort;
use mongodb::bson::{Document, doc};
use reqwest::{Response, StatusCode, header::ETAG};
use serde_json::{Value, json};
use service_kit::{
    runtime::settings::{Settings, auth::AuthMode, comma_separated::CommaSeparated},
    web::http_client,
};

use crate::{
    support::{Services, connect, created},
    table::Table,
    up::Up,
    wrk::{Get, rates},
};

/// A token of an editor, whose address it stands for, and which site it is for.
const TOKEN: &str = "5d3c0c4f6a7b4f0f9d1e2a3b4c5d6e7f";
const EDITOR: &str = "editor@site.example";
const CLIENT_ID: &str = "site.apps.example";

/// All of it, on a site with so many stories.
pub(crate) async fn api(uri: &str, count: usize, table: &mut Table) {
    let database = format!("site_{count}");
    let services = Services::start(uri, &database).await;
    deep_pages(&services.content, count, table).await;
    not_modified("of content-service", &services.content, table).await;
    services.shutdown.cancel();

    // What the services do, without the answers that the gateway keeps.
    let environment = [("RUST_LOG", "off"), ("TURBULENCE__CACHE__MAX_BYTES", "0")];
    let up = Up::start_with(uri, &database, &[], &environment);
    up.wait_until_ready();
    not_modified("through the gateway", &up.address, table).await;
    resolve(&up.address, table).await;
    drop(up);

    let users = connect(uri, &database).await.database().collection::<Document>("users");
    users.insert_one(doc! { "email": EDITOR, "role": "author" }).await.unwrap();
    let provider = Provider::start();
    let with_token =
        |settings: &mut Settings| settings.auth.static_token = Some(TOKEN.parse().unwrap());
    token("static", Services::start_with(uri, &database, with_token).await, table).await;
    let with_google = |settings: &mut Settings| {
        settings.auth.mode = AuthMode::Google;
        settings.auth.google.audience = CommaSeparated(vec![CLIENT_ID.to_owned()]);
        settings.auth.google.tokeninfo_url = provider.tokeninfo.parse().unwrap();
    };
    token("google", Services::start_with(uri, &database, with_google).await, table).await;
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1, "the provider is asked once");
}

/// A page after nine tenths of the list, or nearly so, in every order.
async fn deep_pages(content: &str, count: usize, table: &mut Table) {
    for sort in Sort::ALL {
        // Titles are in the order of their digits: `Story 1…` comes first, and `Story 9…` last.
        let number = if sort.is_descending() { count / 10 } else { count / 10 * 9 };
        let first = format!("{content}/stories?limit=10&sort={}", sort.as_str());
        // A cursor is a place, whatever the filter of the list that it comes from.
        let moment = |number| created(number).try_to_rfc3339_string().unwrap();
        let (from, until) = (moment(number), moment(number + 4));
        let some = format!("{first}&created_after={from}&created_before={until}&limit=1");
        let some = some.replacen("limit=10&", "", 1);
        let cursor = json(&some).await["next_cursor"].as_str().expect("more items").to_owned();
        let deep = format!("{first}&cursor={cursor}");
        assert_eq!(json(&deep).await["items"].as_array().unwrap().len(), 10);
        let [first, deep] = rates([plain(&first), plain(&deep)]);
        table.row(
            &format!(
                "time of a cursor page after nine tenths of {count} ÷ first page, {}",
                sort.as_str()
            ),
            format!("{:.2} ({deep:.0}/s, {first:.0}/s)", first / deep),
            "≤ 1.3",
            first / deep <= 1.3,
        );
    }
}

/// A client that has the answer, against one that has not.
async fn not_modified(whose: &str, address: &str, table: &mut Table) {
    for path in ["/stories?limit=10", "/resolve?path=/blog"] {
        let url = format!("{address}{path}");
        let tag =
            get(&url, None, StatusCode::OK).await.headers()[ETAG].to_str().unwrap().to_owned();
        let header = format!("If-None-Match: {tag}");
        get(&url, Some(&header), StatusCode::NOT_MODIFIED).await;
        let known = Get { url: &url, header: Some(&header) };
        let [full, unchanged] = rates([plain(&url), known]);
        table.row(
            &format!("time of a 304 {whose} ÷ the 200, {path}"),
            format!("{:.2} ({unchanged:.0}/s, {full:.0}/s)", full / unchanged),
            "≤ 0.3",
            full / unchanged <= 0.3,
        );
    }
}

/// A page of the site in one request, against the two that a frontend sent before.
async fn resolve(gateway: &str, table: &mut Table) {
    let urls = ["/resolve?path=/blog", "/sections/slug/blog", "/stories?section=blog&limit=10"]
        .map(|path| format!("{gateway}{path}"));
    let [resolution, _, list] = [json(&urls[0]).await, json(&urls[1]).await, json(&urls[2]).await];
    assert_eq!(resolution["content"], list, "one answers what the others do");
    let [resolve, section, list] = rates([plain(&urls[0]), plain(&urls[1]), plain(&urls[2])]);
    let ratio = (1.0 / resolve) / (1.0 / section + 1.0 / list);
    table.row(
        "time of resolve ÷ section by slug + its first page, through the gateway",
        format!("{ratio:.2} ({resolve:.0}/s; {section:.0}/s, {list:.0}/s)"),
        "≤ 1.3",
        ratio <= 1.3,
    );
}

/// A list with a token that is checked, against one that needs none.
async fn token(mode: &str, services: Services, table: &mut Table) {
    let list = format!("{}/stories?limit=10", services.content);
    let drafts = format!("{list}&include_drafts=true");
    let header = format!("Authorization: Bearer {TOKEN}");
    get(&drafts, None, StatusCode::UNAUTHORIZED).await;
    get(&drafts, Some(&header), StatusCode::OK).await;
    let checked = Get { url: &drafts, header: Some(&header) };
    let [without, with] = rates([plain(&list), checked]);
    services.shutdown.cancel();
    table.row(
        &format!("time of a list with a token ({mode}, not its first check) ÷ without"),
        format!("{:.2} ({with:.0}/s, {without:.0}/s)", without / with),
        "< 1.05",
        without / with < 1.05,
    );
}

fn plain(url: &str) -> Get<'_> {
    Get { url, header: None }
}

/// Asks once, and looks whether the answer is of the kind that is to be measured.
pub(crate) async fn get(url: &str, header: Option<&str>, status: StatusCode) -> Response {
    let client = http_client::service_client(Duration::from_secs(60)).unwrap();
    let (name, value) = header.and_then(|header| header.split_once(": ")).unzip();
    let request = client.get(url);
    let request = match (name, value) {
        (Some(name), Some(value)) => request.header(name, value),
        _ => request,
    };
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), status, "{url}");
    answer
}

async fn json(url: &str) -> Value {
    get(url, None, StatusCode::OK).await.json().await.unwrap()
}

/// A provider that verifies the access token, as Google does, and counts the requests.
struct Provider {
    tokeninfo: String,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tokeninfo = format!("http://{}/tokeninfo", listener.local_addr().unwrap());
        let data = web::Data::from(asked.clone());
        let app = move || {
            App::new().app_data(data.clone()).route("/tokeninfo", web::get().to(know_token))
        };
        let server = HttpServer::new(app).workers(1).disable_signals();
        tokio::spawn(server.listen(listener).unwrap().run());
        Self { tokeninfo, asked }
    }
}

async fn know_token(
    asked: web::Data<AtomicUsize>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    asked.fetch_add(1, Ordering::Relaxed);
    if query.get("access_token").map(String::as_str) != Some(TOKEN) {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Ok().json(json!({
        "aud": CLIENT_ID, "scope": "email", "expires_in": "3600",
        "email": EDITOR, "email_verified": "true",
    }))
}
