//! The help of every command.

use crate::support::Folder;

async fn help(arguments: &[&str]) -> String {
    let ended = Folder::new().run(&[arguments, &["--help"]].concat()).await;
    ended.success().to_owned()
}

#[tokio::test]
async fn of_the_program() {
    insta::assert_snapshot!(help(&[]).await);
}

#[tokio::test]
async fn of_up() {
    insta::assert_snapshot!(help(&["up"]).await);
}

#[tokio::test]
async fn of_import() {
    insta::assert_snapshot!(help(&["import"]).await);
}

#[tokio::test]
async fn of_export() {
    insta::assert_snapshot!(help(&["export"]).await);
}

#[tokio::test]
async fn of_the_import_of_media() {
    insta::assert_snapshot!(help(&["media", "import"]).await);
}

#[tokio::test]
async fn of_migrate() {
    insta::assert_snapshot!(help(&["migrate"]).await);
}

#[tokio::test]
async fn of_the_services() {
    let mut all = String::new();
    for service in ["sections", "content", "media", "gateway", "console"] {
        all += &format!("{}\n", help(&[service]).await);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn of_doctor() {
    insta::assert_snapshot!(help(&["doctor"]).await);
}

#[tokio::test]
async fn of_the_actions_of_migrate() {
    let actions = [
        "status",
        "plan",
        "up",
        "down",
        "verify",
        "pause",
        "resume",
        "retry",
        "repair",
        "force-unlock",
    ];
    let mut all = String::new();
    for action in actions {
        let help = help(&["migrate", action]).await;
        assert!(help.contains("--json"), "{help}");
        // The common options are in the help of `migrate`.
        let common = help.find("      --service").unwrap();
        all += &format!("{}\n", help[..common].trim_end());
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn the_version_is_printed() {
    let ended = Folder::new().run(&["--version"]).await;
    assert_eq!(ended.success(), concat!("turbulence ", env!("CARGO_PKG_VERSION"), "\n"));
}
