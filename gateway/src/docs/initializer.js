"use strict";

// An operation that answers without a token too shows an open padlock until one is entered. Swagger UI
// takes its empty requirement for one that is met, and would show it closed.
const padlocks = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        isAuthorized: (original) => (state, requirements) =>
          original(requirements && requirements.filter((requirement) => requirement.size > 0)),
      },
    },
  },
});

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  // Beside the page, wherever the gateway is mounted.
  url: new URL("openapi.json", document.baseURI).href,
  deepLinking: true,
  displayOperationId: true,
  filter: true,
  // No other host is asked about the document.
  validatorUrl: null,
  // A token stays in this tab.
  persistAuthorization: false,
  plugins: [padlocks],
});
