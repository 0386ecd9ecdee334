//! Extracts the files that `/docs` needs from the archive of Swagger UI: a third of it.

use std::{env, error::Error, fs, fs::File, io, io::Cursor, path::Path};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The files, below the one folder of the archive.
const FILES: [&str; 4] =
    ["LICENSE", "dist/favicon-32x32.png", "dist/swagger-ui-bundle.js", "dist/swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = Path::new(&env::var("OUT_DIR")?).join("swagger-ui");
    fs::create_dir_all(&folder)?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let root = archive.root_dir(|_| true)?.ok_or("the archive of Swagger UI is not one folder")?;
    for name in FILES {
        let path = folder.join(name.trim_start_matches("dist/"));
        let name = format!("{}/{name}", root.display());
        io::copy(&mut archive.by_name(&name)?, &mut File::create(path)?)?;
    }
    Ok(())
}
