//! Logs, traces and metrics.
//!
//! Logs go to standard error: JSON lines, or readable text on a terminal. Traces and metrics go to
//! an OTLP collector if the standard `OTEL_EXPORTER_OTLP_ENDPOINT` names one. A separate thread with a
//! bounded queue exports them, so that requests do not wait for a collector that is down. The same
//! metrics are served to Prometheus if the setting `metrics.port` is set.

use std::{
    env, fmt,
    io::{self, IsTerminal},
    net::SocketAddr,
    thread,
    time::Duration,
};

use opentelemetry::{KeyValue, global, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::sync::oneshot;
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter, Layer,
    field::MakeExt,
    filter::{LevelFilter, Targets},
    fmt::format::{Writer, debug_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    json_log::{JsonLines, JsonMembers},
    listen::{BindError, Endpoint},
    printable::printable_field,
    prometheus::PrometheusReader,
    resources::report_resources,
    settings,
    trace::TRACE_TARGET,
};
use crate::web::metrics::serve_metrics;

/// The longest time for exporting the last spans and metrics at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Filters for log lines of libraries without useful information. The exporters report a collector that
/// is down at every attempt. The HTML parser warns of each text in a table outside a cell, as is common
/// in text that was pasted from other programs.
const QUIET_TARGETS: &str =
    "opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off,html5ever=error";

/// The running telemetry of a process. [`flush`](Self::flush) it before the process ends.
#[derive(Debug)]
#[must_use = "spans that are not flushed are lost"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// The reason why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is invalid.
    #[error("wrong setting: `RUST_LOG`: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be set up.
    #[error("wrong setting: `OTEL_EXPORTER_OTLP_*`: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The port of the metrics cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The metrics cannot be served.
    #[error("the metrics cannot be served")]
    Serve(#[from] io::Error),
}

impl Telemetry {
    /// Starts the telemetry of this process. `default_filter` applies if `RUST_LOG` is not set.
    pub fn start(
        service: &'static str,
        default_filter: &str,
        metrics: &settings::Metrics,
    ) -> Result<Self, TelemetryError> {
        let directives = env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
        let directives = directives.as_deref().unwrap_or(default_filter);
        let filter = EnvFilter::try_new(format!("{directives},{QUIET_TARGETS}"))?;
        let resource = resource(service);
        let traces = if is_exporting() { Some(traces(resource.clone())?) } else { None };
        let (metrics, address) = start_metrics(resource, metrics)?;
        global::set_text_map_propagator(TraceContextPropagator::new());
        if let Some(traces) = &traces {
            global::set_tracer_provider(traces.clone());
        }
        write_logs(filter, traces.as_ref().map(|traces| traces.tracer(service)));
        if let Some(address) = address {
            tracing::info!(%address, "serving metrics");
        }
        Ok(Self { traces, metrics })
    }

    /// Exports the remaining spans and metrics, for two seconds at most.
    pub async fn flush(self) {
        let Self { traces, metrics } = self;
        let (sender, is_flushed) = oneshot::channel();
        // On a thread of its own, since the runtime would wait for a task at its end. An exporter does
        // not keep its timeout if a collector accepts the connection and does not answer.
        thread::spawn(move || {
            // An error means that the collector is down; nothing can be done about it here.
            let _ = traces.map(|traces| traces.shutdown_with_timeout(FLUSH_TIMEOUT));
            let _ = metrics.map(|metrics| metrics.shutdown_with_timeout(FLUSH_TIMEOUT));
            let _ = sender.send(());
        });
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, is_flushed).await;
    }
}

/// Returns the description of this process, which all its telemetry has.
fn resource(service: &'static str) -> Resource {
    let is_named = env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let resource = if is_named { resource } else { resource.with_service_name(service) };
    resource.build()
}

fn traces(resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let traces = SdkTracerProvider::builder().with_resource(resource);
    Ok(traces.with_batch_exporter(exporter).build())
}

/// Starts the metrics if a collector or Prometheus reads them. Returns the address for Prometheus.
fn start_metrics(
    resource: Resource,
    settings: &settings::Metrics,
) -> Result<(Option<SdkMeterProvider>, Option<SocketAddr>), TelemetryError> {
    let endpoint = Endpoint::of_metrics(settings).map(Endpoint::bind).transpose()?;
    let mut metrics = SdkMeterProvider::builder().with_resource(resource);
    if is_exporting() {
        metrics = metrics.with_periodic_exporter(MetricExporter::builder().with_http().build()?);
    } else if endpoint.is_none() {
        return Ok((None, None));
    }
    let reader = PrometheusReader::new();
    if endpoint.is_some() {
        metrics = metrics.with_reader(reader.clone());
    }
    let metrics = metrics.build();
    global::set_meter_provider(metrics.clone());
    report_resources();
    let mut address = None;
    if let Some((listener, bound)) = endpoint {
        serve_metrics(listener, reader)?;
        address = Some(bound);
    }
    Ok((Some(metrics), address))
}

/// Writes log lines to standard error, and exports spans by the tracer.
fn write_logs(filter: EnvFilter, tracer: Option<SdkTracer>) {
    let format = tracing_subscriber::fmt::layer();
    let format = if std::io::stderr().is_terminal() {
        let format = format.with_writer(std::io::stderr).with_target(false);
        format.fmt_fields(debug_fn(write_field).delimited(" ")).boxed()
    } else {
        let format = format.with_writer(std::io::stderr);
        format.fmt_fields(JsonMembers).event_format(JsonLines).boxed()
    };
    // The filter of the log does not apply: a trace has all its spans, also those that no line needs.
    let of_traces = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(TRACE_TARGET, LevelFilter::DEBUG);
    let spans = tracer
        .map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(of_traces));
    tracing_subscriber::registry().with(format.with_filter(filter)).with(spans).init();
}

/// Writes a field of a log line on a terminal.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = printable_field(&value);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{name}={value}"),
    }
}

/// Returns `true` if the standard variables name a collector (OpenTelemetry specification,
/// "OpenTelemetry Protocol Exporter").
fn is_exporting() -> bool {
    let is_set = |name| env::var(name).is_ok_and(|value| !value.is_empty());
    let is_disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value == "true");
    !is_disabled
        && (is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_value_forges_no_log_line_on_a_terminal() {
        let (buffer, hostile) = (Buffer::default(), "x\u{1b}[2J\r\n\u{9b}\u{202e}ERROR forged");
        let writer = buffer.clone();
        let format = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .fmt_fields(debug_fn(write_field).delimited(" "));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(format), || {
            let span = tracing::info_span!("request", path = %hostile);
            span.in_scope(|| tracing::info!(shown = %hostile, count = 1, "read {hostile}"));
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let escaped = r"x\u{1b}[2J\r\n\u{9b}\u{202e}ERROR forged";
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "", "{text:?}");
        let expected = format!("read {escaped} shown={escaped} count=1");
        assert!(line.contains(&expected), "{line}");
        assert!(line.contains(&format!("path={escaped}")), "{line}");
    }
}
