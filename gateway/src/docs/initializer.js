"use strict";

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
});
