//! Lists the files of the demo, so that a new kind of content needs no code here.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=demo");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("demo");
    let mut files = fs::read_dir(folder)?
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    // The folder is looked up by the compiler, since a checkout may be moved together with its build.
    let rows = files.iter().map(|file| {
        let name = file.trim_end_matches(".jsonl");
        let path = format!("/demo/{file}");
        format!(r#"({name:?}, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), {path:?})))"#)
    });
    let table = format!("&[{}]", rows.collect::<Vec<_>>().join(", "));
    fs::write(Path::new(&env::var("OUT_DIR")?).join("demo.rs"), table)?;
    Ok(())
}
