//! The report: tables with method and machine.

/// One part of the report.
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) method: String,
    pub(crate) rows: Vec<Row>,
}

/// One figure.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) against: String,
    pub(crate) ratio: String,
    pub(crate) aim: &'static str,
}

/// The whole report as Markdown.
pub(crate) fn render(parts: &[Part]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`. Every figure is a median over alternating rounds within one run; \
         what counts is the ratio, since absolute times are those of this machine.\n\n",
    );
    text.push_str(&machine());
    for part in parts {
        text.push_str(&format!("\n## {}\n\n{}\n\n", part.title, part.method));
        text.push_str("| what | Warrantor | against | ratio | aim |\n|---|--:|--:|--:|---|\n");
        for row in &part.rows {
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                row.what, row.ours, row.against, row.ratio, row.aim
            ));
        }
    }
    text
}

fn machine() -> String {
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|l| l.starts_with(name))
            .and_then(|l| l.split(':').nth(1))
            .map(|v| v.trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Machine: {} ({cores} cores), {} of memory, Linux. Load when the report was written: {}.\n",
        field(&cpu, "model name").unwrap_or_else(|| "unknown processor".into()),
        field(&memory, "MemTotal").unwrap_or_else(|| "unknown".into()),
        load.split(' ').next().unwrap_or("unknown")
    )
}
