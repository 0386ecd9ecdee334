//! Lists the files of the demo, so that a new kind of content needs no code here.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=demo");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("demo");
    let mut files = fs::read_dir(folder)?
        .map(|file| Ok(file?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    let rows = files.iter().map(|file| {
        let name = file.file_stem().unwrap_or_default();
        format!("({name:?}, include_str!({file:?}))")
    });
    let table = format!("&[{}]", rows.collect::<Vec<_>>().join(", "));
    fs::write(Path::new(&env::var("OUT_DIR")?).join("demo.rs"), table)?;
    Ok(())
}
