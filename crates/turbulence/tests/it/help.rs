//! What every command says of itself.

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
async fn of_migrate() {
    insta::assert_snapshot!(help(&["migrate"]).await);
}

#[tokio::test]
async fn of_the_actions_of_migrate() {
    for action in ["status", "plan", "up", "verify"] {
        let help = help(&["migrate", action]).await;
        assert!(help.contains(&format!("Usage: turbulence migrate {action} [OPTIONS]")), "{help}");
    }
    insta::assert_snapshot!(help(&["migrate", "plan"]).await);
}

#[tokio::test]
async fn the_version_is_said() {
    let ended = Folder::new().run(&["--version"]).await;
    assert_eq!(ended.success(), concat!("turbulence ", env!("CARGO_PKG_VERSION"), "\n"));
}
