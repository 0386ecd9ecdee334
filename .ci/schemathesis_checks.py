"""What Schemathesis checks of answers to valid requests, told what no schema can say."""

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Members that name something else, or that exclude each other: whether a value is right depends on
# the data, on another parameter, or on the time.
REFERENCES = {
    "createdDate",
    "content.ids",
    "content.section_id",
    "cursor",
    "parent_id",
    "section",
    "section_id",
}
# Rules about other things than the body.
CODES = {"cycle", "idempotency_key_reused", "too_deep"}


def is_refused_for_the_data(response):
    """Whether the request is well-formed and does not fit what is stored."""
    if response.status_code == 412:
        return True
    # An existing site may have items with an id of any text.
    if response.status_code == 400 and response.json()["code"] == "invalid_id":
        return True
    if response.status_code != 422:
        return False
    problem = response.json()
    fields = {error["field"] for error in problem.get("errors", [])}
    return problem["code"] in CODES or (bool(fields) and fields <= REFERENCES)


@schemathesis.check
def valid_data_is_accepted(ctx, response, case):
    """`positive_data_acceptance`, but for refusals that no schema can foresee."""
    if not is_refused_for_the_data(response):
        positive_data_acceptance(ctx, response, case)
