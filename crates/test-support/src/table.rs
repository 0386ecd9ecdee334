//! Tables of results.

/// Returns a table in Markdown. A column has its title, and `true` if it contains numbers.
pub fn markdown_table<const N: usize>(columns: &[(&str, bool); N], rows: &[[String; N]]) -> String {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let titles = line(&columns.map(|(title, _)| title));
    let rule: String =
        columns.iter().map(|(_, is_number)| if *is_number { "--:|" } else { "---|" }).collect();
    let rows: String =
        rows.iter().map(|cells| line(&cells.each_ref().map(String::as_str))).collect();
    format!("{titles}|{rule}\n{rows}")
}
