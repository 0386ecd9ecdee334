//! The table of results.

#[derive(Default)]
pub(crate) struct Table(Vec<(String, String, String, bool)>);

impl Table {
    pub(crate) fn row(&mut self, what: &str, measured: String, wanted: &str, is_met: bool) {
        eprintln!("{what}: {measured} (wanted: {wanted})");
        self.0.push((what.to_owned(), measured, wanted.to_owned(), is_met));
    }

    pub(crate) fn print(&self) {
        println!("| what | measured | wanted | met |\n|---|---|---|---|");
        for (what, measured, wanted, is_met) in &self.0 {
            println!("| {what} | {measured} | {wanted} | {} |", if *is_met { "yes" } else { "no" });
        }
    }
}
