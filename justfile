# Every command that a person or CI needs. README.md names the same ones.

# COMPOSE=docker-compose for the older, separate program.
compose := env("COMPOSE", "docker compose")

# List the commands
default:
    @{{ just_executable() }} --list --unsorted

# Start a whole site with demo content, database included
up *arguments:
    cargo run --release --package turbulence -- up --demo {{ arguments }}

# Run all tests
test *arguments:
    cargo test --workspace {{ arguments }}

# Format the code
fmt:
    cargo fmt --all

# Check the format, the lints and the direction of dependencies
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    .ci/dependencies

# The faults that migrations survive, in more rounds than `test` has
faults rounds="2":
    TURBULENCE_FAULT_ROUNDS={{ rounds }} cargo test --package turbulence --test faults

# The sanitiser of HTML against texts made from a grammar: time, memory, safety of each
fuzz-html seconds="60":
    TURBULENCE_FUZZ_SECONDS={{ seconds }} cargo test --release --package content-service --lib \
        html::tests::fuzz -- --nocapture

# Write docs/openapi.json, the description of the API, anew from the code
openapi:
    mkdir -p target
    cargo run --package turbulence -- openapi > target/openapi.json
    mv target/openapi.json docs/openapi.json

# Ask a live gateway what its description allows, and what it forbids (needs Python 3 with pip)
schemathesis *options:
    cargo build --package turbulence
    .ci/schemathesis "${CARGO_TARGET_DIR:-target}/debug/turbulence" {{ options }}

# Lint docs/openapi.json, make TypeScript types from it and check a client of them (needs Node.js with npm)
typescript:
    npm --prefix clients/typescript ci --no-audit --no-fund
    npm --prefix clients/typescript run check

# Everything that a change has to pass
ci: lint test faults typescript schemathesis

# Measure
bench *arguments:
    cargo bench --package turbulence {{ arguments }}

# Check licences and advisories of dependencies (needs cargo-deny and a network)
deny:
    cargo deny check

# Build the container images
images:
    {{ compose }} --profile commands build

# Start the cluster in containers
compose-up *arguments:
    {{ compose }} up --build --detach {{ arguments }}

# Wait until the cluster is ready, and ask it for its sections
compose-check:
    curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-all-errors \
        --output /dev/null http://127.0.0.1:5001/health/ready
    curl --silent --show-error --fail http://127.0.0.1:5001/sections

# Stop the cluster in containers; `--volumes` deletes its data
compose-down *arguments:
    {{ compose }} down {{ arguments }}
