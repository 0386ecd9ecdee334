//! The trace that a request belongs to.
//!
//! Each request has one, and passes its id on. Spans are recorded only if they are exported; then a
//! layer of OpenTelemetry keeps the context of the current span. Without the layer, the context of a
//! request has its ids and nothing else.

use http::HeaderMap;
use opentelemetry::{
    Context, global,
    propagation::Extractor,
    trace::{FutureExt, SpanContext, TraceContextExt, TraceId},
};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of spans that only traces need: at level `debug`, they are in no log.
pub const TRACE_TARGET: &str = "turbulence::trace";

/// The trace of a request that is handled.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    pub(crate) id: TraceId,
    /// The context in which the request is handled.
    pub(crate) context: Context,
    /// `true` if the span of the request is part of the trace.
    pub(crate) has_span: bool,
}

/// Makes a span part of the caller's trace, or of a new one.
pub(crate) fn continue_trace(span: &Span, caller: Context) -> RequestTrace {
    // Fails without the layer.
    if span.set_parent(caller.clone()).is_ok() {
        let id = span.context().span().span_context().trace_id();
        return RequestTrace { id, context: caller, has_span: true };
    }
    let own = {
        let caller = caller.span();
        let caller = caller.span_context();
        let ids = RandomIdGenerator::default();
        let id = if caller.is_valid() { caller.trace_id() } else { ids.new_trace_id() };
        let state = caller.trace_state().clone();
        SpanContext::new(id, ids.new_span_id(), caller.trace_flags(), true, state)
    };
    let id = own.trace_id();
    RequestTrace { id, context: Context::new().with_remote_span_context(own), has_span: false }
}

/// Returns the context that a caller sends in its headers, or an empty one.
pub(crate) fn context_of_caller(headers: &impl Extractor) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(headers))
}

/// Adds `traceparent` and `tracestate` (W3C Trace Context) of a span, or else of the current trace, to
/// the headers.
pub fn inject_trace(span: &Span, headers: &mut HeaderMap) {
    let mut context = span.context();
    if !context.has_active_span() {
        context = Context::current();
    }
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}

/// Returns the id of the trace that the current task belongs to.
pub fn current_trace_id() -> Option<String> {
    let context = Context::current();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// Makes a future that runs as a task of its own part of the current request.
pub fn in_current_trace<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.in_current_span().with_current_context()
}
