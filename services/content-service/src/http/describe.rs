//! Routes with their description: a handler and its operation are given together.
//!
//! The attribute macro of utoipa describes one function. The handlers of the kinds of content are
//! generic, so that their operations are built for each kind.

use actix_web::{FromRequest, Handler, Resource, Responder};
use service_kit::web::routing::{Route, route};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, HttpMethod, ObjectBuilder, OpenApi, PathItem, Ref, RefOr,
        Required, Response, ResponseBuilder, Schema, SecurityRequirement, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::AnyOfBuilder,
    },
};

/// A path with its handlers and their description.
pub(super) struct Endpoint {
    path: String,
    route: Route,
    item: PathItem,
    schemas: Vec<(String, RefOr<Schema>)>,
}

macro_rules! methods {
    ($($name:ident, $method:ident;)+) => {
        $(
            #[doc = concat!("Handles ", stringify!($method), ".")]
            pub(super) fn $name<F, Args>(mut self, handler: F, described: Described) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                self.route = self.route.$name(handler);
                let item = PathItem::new(HttpMethod::$method, described.operation);
                self.item.merge_operations(item);
                self.schemas.extend(described.schemas);
                self
            }
        )+
    };
}

impl Endpoint {
    /// Returns a path without methods.
    pub(super) fn new(path: String) -> Self {
        let route = route(&path);
        Self { path, route, item: PathItem::default(), schemas: Vec::new() }
    }

    methods! {
        get, Get;
        post, Post;
        put, Put;
        patch, Patch;
        delete, Delete;
    }

    /// Returns the path with its handlers.
    pub(super) fn into_resource(self) -> Resource {
        self.route.build()
    }

    /// Adds the path with its description to a document.
    pub(super) fn describe(self, document: &mut OpenApi) {
        document.paths.paths.insert(self.path, self.item);
        document.components.get_or_insert_default().schemas.extend(self.schemas);
    }
}

/// The description of an operation, and the schemas that it refers to.
pub(super) struct Described {
    operation: Operation,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// Describes an operation, which is for everybody unless [`Described::token`] says otherwise.
pub(super) fn operation(tag: &str, id: String, summary: &str, description: &str) -> Described {
    let mut operation = Operation::new();
    operation.tags = Some(vec![tag.to_owned()]);
    operation.operation_id = Some(id);
    operation.summary = Some(summary.to_owned());
    operation.description = Some(description.to_owned());
    Described { operation, schemas: Vec::new() }
}

impl Described {
    /// Adds the parameters of a query.
    pub(super) fn query<T: IntoParams>(self) -> Self {
        T::into_params(|| Some(ParameterIn::Query)).into_iter().fold(self, Self::parameter)
    }

    /// Adds an optional parameter of the query, beside those of [`Described::query`].
    pub(super) fn query_parameter(
        self,
        name: &str,
        description: &str,
        schema: ObjectBuilder,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema));
        self.parameter(parameter.build())
    }

    /// Adds a parameter of the path.
    pub(super) fn path(
        self,
        name: &str,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(schema));
        self.parameter(parameter.build())
    }

    /// Adds an optional header of the request.
    pub(super) fn header(self, name: &str, description: &str, schema: ObjectBuilder) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema.schema_type(Type::String)));
        self.parameter(parameter.build())
    }

    fn parameter(mut self, parameter: Parameter) -> Self {
        self.operation.parameters.get_or_insert_default().push(parameter);
        self
    }

    /// Adds the body of the request.
    pub(super) fn body<T: ToSchema>(mut self) -> Self {
        let schema = self.reference::<T>(T::name().into_owned());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True));
        self.operation.request_body = Some(body.build());
        self
    }

    /// Adds an answer with a value whose schema has this name, and with these headers.
    pub(super) fn answer<T: ToSchema>(
        mut self,
        status: u16,
        description: &str,
        schema_name: String,
        headers: &[(&str, &str)],
    ) -> Self {
        let schema = self.reference::<T>(schema_name);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(description);
        let response = response.content("application/json", content);
        let response = headers.iter().fold(response, |response, (name, description)| {
            let header = HeaderBuilder::new()
                .schema(ObjectBuilder::new().schema_type(Type::String))
                .description(Some(*description));
            response.header(*name, header.build())
        });
        self.response(status, response.build())
    }

    /// Adds another value that an answer may have, and the schemas that it refers to.
    pub(super) fn or_answer(
        mut self,
        status: u16,
        schema_name: String,
        schemas: Vec<(String, RefOr<Schema>)>,
    ) -> Self {
        let response = self.operation.responses.responses.get_mut(&status.to_string());
        if let Some(RefOr::T(response)) = response
            && let Some(content) = response.content.get_mut("application/json")
            && let Some(schema) = content.schema.take()
        {
            let any = AnyOfBuilder::new().item(schema).item(Ref::from_schema_name(schema_name));
            content.schema = Some(any.into());
        }
        self.schemas.extend(schemas);
        self
    }

    /// Adds an answer without a body.
    pub(super) fn empty_answer(self, status: u16, description: &str) -> Self {
        self.response(status, Response::new(description))
    }

    fn response(mut self, status: u16, response: Response) -> Self {
        let responses = &mut self.operation.responses.responses;
        responses.insert(status.to_string(), response.into());
        self
    }

    /// Adds the errors that the operation may answer with.
    pub(super) fn errors<T: IntoResponses>(mut self) -> Self {
        self.operation.responses.responses.extend(T::responses());
        self
    }

    /// Requires a token.
    pub(super) fn token(mut self) -> Self {
        let bearer = SecurityRequirement::new("bearer", [""; 0]);
        self.operation.security.get_or_insert_default().push(bearer);
        self
    }

    /// Accepts requests with and without a token.
    pub(super) fn optional_token(mut self) -> Self {
        self.operation.security = Some(vec![SecurityRequirement::default()]);
        self.token()
    }

    fn reference<T: ToSchema>(&mut self, name: String) -> Ref {
        let reference = Ref::from_schema_name(&name);
        self.schemas.push((name, T::schema()));
        T::schemas(&mut self.schemas);
        reference
    }
}
