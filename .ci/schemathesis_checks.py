"""A check of answers to valid requests that allows for rules that a schema cannot express."""

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Members whose validity depends on stored data, on another parameter, on the time or on a network.
REFERENCES = {
    "createdDate",
    "content.ids",
    "content.section_id",
    "cursor",
    # Cards have no `content`.
    "fields",
    # Old paths are not those that browsers change, nor given together with `prefix`.
    "from",
    "parent_id",
    # The time, and whether the item is published.
    "publish_at",
    "unpublish_at",
    "section",
    "section_id",
    # What a redirect leads to.
    "to.address",
    "to.item.id",
    "to.section.id",
    # The address of a server, which has to be on the public internet; or of a link.
    "url",
    # Whether a section is a link decides about other members of it.
    "content_type",
    "is_home",
    "opens_new_tab",
}
# Codes of rules that depend on stored data.
CODES = {"conflict", "cycle", "idempotency_key_reused", "too_deep"}


def is_refused_for_the_data(response):
    """Returns True if the request is well-formed but conflicts with stored data."""
    if response.status_code == 412:
        return True
    # Neither whether bytes are a picture nor which characters the head of a part may have is a matter
    # of a schema.
    if response.request.url.endswith("/uploads") and response.status_code in {400, 413, 415, 422}:
        return True
    # The lines of a file.
    if response.request.headers.get("Content-Type", "").startswith("text/csv"):
        return response.status_code in {400, 422}
    # An existing site may have items whose id is any text.
    # A path with a control character is refused whatever its route.
    if response.status_code == 400 and response.json()["code"] in {"invalid_id", "invalid_path"}:
        return True
    if response.status_code != 422:
        return False
    problem = response.json()
    fields = {error["field"] for error in problem.get("errors", [])}
    return problem["code"] in CODES or (bool(fields) and fields <= REFERENCES)


@schemathesis.check
def valid_data_is_accepted(ctx, response, case):
    """Runs `positive_data_acceptance` unless the answer refuses a request for the stored data."""
    if not is_refused_for_the_data(response):
        positive_data_acceptance(ctx, response, case)
