//! The metrics of the process in the text format of Prometheus
//! ([ADR 0027](../../../../docs/adr/0027-own-text-format-of-prometheus.md)).
//!
//! Names and units are translated as the OpenTelemetry specification says ("Prometheus and OpenMetrics
//! Compatibility"): `http.server.request.duration` in `s` is `http_server_request_duration_seconds`.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
    sync::{Arc, Weak},
    time::Duration,
};

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, Temporality,
        data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics},
        reader::MetricReader,
    },
};

/// A reader of all metrics of the process.
#[derive(Debug, Clone)]
pub(crate) struct PrometheusReader(Arc<ManualReader>);

impl PrometheusReader {
    /// Returns a reader that still has to be added to a provider of meters.
    pub(crate) fn new() -> Self {
        Self(Arc::new(ManualReader::builder().with_temporality(Temporality::Cumulative).build()))
    }

    /// Returns the current values.
    pub(crate) fn text(&self) -> Result<String, EncodeError> {
        let mut metrics = ResourceMetrics::default();
        self.0.collect(&mut metrics)?;
        Ok(encode(&metrics)?)
    }
}

impl MetricReader for PrometheusReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// The reason why the metrics cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// The process is about to end.
    #[error("the metrics cannot be collected")]
    Collect(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// A value cannot be formatted.
    #[error("the metrics cannot be written")]
    Write(#[from] fmt::Error),
}

/// All series of a name. The format has them together.
struct Family {
    kind: &'static str,
    help: String,
    samples: String,
}

fn encode(metrics: &ResourceMetrics) -> Result<String, fmt::Error> {
    let mut families = BTreeMap::new();
    for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
        match metric.data() {
            AggregatedMetrics::F64(data) => add(&mut families, metric, data)?,
            AggregatedMetrics::I64(data) => add(&mut families, metric, data)?,
            AggregatedMetrics::U64(data) => add(&mut families, metric, data)?,
        }
    }
    let mut text = String::new();
    for (name, Family { kind, help, samples }) in families {
        if !help.is_empty() {
            writeln!(text, "# HELP {name} {}", escape(&help, false))?;
        }
        write!(text, "# TYPE {name} {kind}\n{samples}")?;
    }
    let resource = Labels::default().with_all(metrics.resource().iter());
    writeln!(text, "# HELP target_info The process\n# TYPE target_info gauge")?;
    writeln!(text, "target_info{resource} 1")?;
    Ok(text)
}

fn add<T: Display + Copy>(
    families: &mut BTreeMap<String, Family>,
    metric: &Metric,
    data: &MetricData<T>,
) -> fmt::Result {
    let kind = match data {
        MetricData::Gauge(_) => "gauge",
        MetricData::Sum(sum) if sum.is_monotonic() => "counter",
        MetricData::Sum(_) => "gauge",
        MetricData::Histogram(_) => "histogram",
        // Prometheus has them in another format only.
        MetricData::ExponentialHistogram(_) => return Ok(()),
    };
    let name = name(metric, kind);
    let family = families.entry(name.clone()).or_insert_with(|| {
        let help = metric.description().to_owned();
        Family { kind, help, samples: String::new() }
    });
    let samples = &mut family.samples;
    match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                writeln!(samples, "{name}{} {}", Labels::of(point.attributes()), point.value())?;
            }
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                writeln!(samples, "{name}{} {}", Labels::of(point.attributes()), point.value())?;
            }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let labels = Labels::of(point.attributes());
                let mut count = 0;
                for (bound, in_bucket) in point.bounds().zip(point.bucket_counts()) {
                    count += in_bucket;
                    let labels = labels.clone().with("le", &bound.to_string());
                    writeln!(samples, "{name}_bucket{labels} {count}")?;
                }
                let all = labels.clone().with("le", "+Inf");
                let (sum, count) = (point.sum(), point.count());
                writeln!(samples, "{name}_bucket{all} {count}")?;
                writeln!(samples, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}")?;
            }
        }
        MetricData::ExponentialHistogram(_) => {}
    }
    Ok(())
}

/// Returns the name of a metric with its unit.
fn name(metric: &Metric, kind: &str) -> String {
    let mut name = identifier(metric.name());
    let unit = match metric.unit() {
        "s" => "seconds",
        "By" => "bytes",
        "1" => "ratio",
        // A word for what is counted.
        unit if unit.starts_with('{') => "",
        unit => unit,
    };
    if !unit.is_empty() {
        name = format!("{name}_{}", identifier(unit));
    }
    if kind == "counter" { format!("{name}_total") } else { name }
}

/// Replaces the characters that names of metrics and labels cannot have.
fn identifier(name: &str) -> String {
    let replaced = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let name: String = replaced.collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Escapes a text: in quotation marks as the value of a label, or as the description of a metric.
fn escape(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}

/// The labels of a series.
#[derive(Debug, Clone, Default)]
struct Labels(String);

impl Labels {
    fn of<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Self {
        Self::default().with_all(attributes.map(|attribute| (&attribute.key, &attribute.value)))
    }

    fn with_all<'a>(self, attributes: impl Iterator<Item = (&'a Key, &'a Value)>) -> Self {
        attributes.fold(self, |labels, (key, value)| labels.with(key.as_str(), &value.as_str()))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let separator = if self.0.is_empty() { "" } else { "," };
        self.0 += &format!("{separator}{}=\"{}\"", identifier(name), escape(value, true));
        self
    }
}

impl Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{{{}}}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

    use super::*;

    /// Returns the text of metrics that `record` records.
    fn text(record: impl FnOnce(&SdkMeterProvider)) -> String {
        let reader = PrometheusReader::new();
        let resource = Resource::builder_empty().with_service_name("the \"site\"").build();
        let provider = SdkMeterProvider::builder().with_resource(resource);
        let provider = provider.with_reader(reader.clone()).build();
        record(&provider);
        reader.text().unwrap()
    }

    #[test]
    fn each_kind_is_written_as_the_format_demands() {
        let written = text(|provider| {
            let meter = provider.meter("one");
            let counter = meter.u64_counter("a.documents").with_unit("{document}");
            let counter = counter.with_description("Changed\ndocuments \\ \"all\"").build();
            counter.add(2, &[KeyValue::new("db.name", "x\"\\\n"), KeyValue::new("n", 1)]);
            meter.f64_gauge("b.age").with_unit("s").build().record(0.5, &[]);
            let memory = meter.i64_up_down_counter("c.memory").with_unit("By").build();
            memory.add(5, &[]);
            memory.add(-7, &[]);
            let histogram = meter.f64_histogram("d.duration").with_unit("s");
            let histogram = histogram.with_boundaries(vec![0.005, 1.0]).build();
            for seconds in [0.0, 0.5, 0.75, 4.0] {
                histogram.record(seconds, &[KeyValue::new("route", "/x")]);
            }
        });
        let expected = r#"# HELP a_documents_total Changed\ndocuments \\ "all"
# TYPE a_documents_total counter
a_documents_total{db_name="x\"\\\n",n="1"} 2
# TYPE b_age_seconds gauge
b_age_seconds 0.5
# TYPE c_memory_bytes gauge
c_memory_bytes -2
# TYPE d_duration_seconds histogram
d_duration_seconds_bucket{route="/x",le="0.005"} 1
d_duration_seconds_bucket{route="/x",le="1"} 3
d_duration_seconds_bucket{route="/x",le="+Inf"} 4
d_duration_seconds_sum{route="/x"} 5.25
d_duration_seconds_count{route="/x"} 4
# HELP target_info The process
# TYPE target_info gauge
target_info{service_name="the \"site\""} 1
"#;
        assert_eq!(written, expected);
    }

    #[test]
    fn metrics_of_several_meters_with_one_name_are_one() {
        let written = text(|provider| {
            for (name, number) in [("one", 2), ("two", 3)] {
                let counter = provider.meter(name).u64_counter("documents").build();
                counter.add(number, &[KeyValue::new("by", name)]);
            }
        });
        assert_eq!(written.matches("# TYPE documents_total counter").count(), 1, "{written}");
        for series in ["documents_total{by=\"one\"} 2\n", "documents_total{by=\"two\"} 3\n"] {
            assert!(written.contains(series), "{written}");
        }
    }

    #[test]
    fn names_have_letters_digits_and_underscores_only() {
        for (name, expected) in [("db.name", "db_name"), ("9 é", "_9__"), ("a-b/c", "a_b_c")] {
            assert_eq!(identifier(name), expected);
        }
    }
}
