//! A disk that is really full: the data of `turbulence up` on a small file system of its own.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::{Api, eventually};

use crate::support::{Folder, Turbulence};

/// The size of the file system: an empty MongoDB needs less than half of it.
const SIZE: &str = "size=600m";

/// The longest time until MongoDB notices that it cannot write: it writes a checkpoint each minute.
const MAX_UNNOTICED: Duration = Duration::from_secs(90);

/// A file system in memory. It is unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    /// Returns `None` if this process may not mount anything.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    /// Fills the disk to the last byte.
    fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        let bytes = vec![0; 1024 * 1024];
        while filler.write_all(&bytes).is_ok() {}
        while filler.write_all(b"0").is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) async fn a_full_disk_is_named_and_the_site_recovers_when_there_is_space() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(folder.path("disk")) else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let command = folder.command(&["up", "--port", "0", "--demo", "--data-dir", "disk/data"]);
    let turbulence = Turbulence::spawn(command);
    let summary = turbulence.ready().await;
    let token = summary.token.clone().leak();
    let api = Api::new(&summary.address).sent_by(Some(token));
    let drafts = "/stories?include_drafts=true&limit=1";
    let before = api.get(drafts).await.body["total"].as_u64().unwrap();

    disk.fill();
    let (began, mut acknowledged, mut unknown) = (Instant::now(), 0, 0);
    let has_ended = || {
        let messages = turbulence.log();
        messages.iter().any(|line| {
            line["message"].as_str().is_some_and(|text| text.starts_with("MongoDB has ended"))
        })
    };
    while !has_ended() {
        assert!(began.elapsed() < MAX_UNNOTICED, "MongoDB does not notice the full disk");
        let story = json!({ "title": "Full", "content": "x".repeat(100_000) });
        let answer = api.call("POST", "/stories", story).await;
        match answer.status {
            201 => acknowledged += 1,
            503 => unknown += 1,
            _ => panic!("a write was answered with {:?}", answer.body),
        }
        let read = api.get("/stories").await;
        assert!(matches!(read.status, 200 | 503), "{read:?}");
    }
    turbulence.logged("MongoDB cannot be started again").await;
    let read = api.get("/stories").await;
    assert!(matches!(read.status, 200 | 503), "{read:?}");

    disk.free();
    turbulence.logged("MongoDB runs again").await;
    eventually("the site answers", async || api.get(drafts).await.status == 200).await;
    let added = api.get(drafts).await.body["total"].as_u64().unwrap() - before;
    assert!((acknowledged..=acknowledged + unknown).contains(&added), "{added}: {acknowledged}");
    let story = json!({ "title": "Space", "content": "" });
    assert_eq!(api.call("POST", "/stories", story).await.status, 201);
    turbulence.stop().await;
}
