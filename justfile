# Every command that a developer or CI needs. README.md names the same ones.

# COMPOSE=docker-compose for the older, separate program.
compose := env("COMPOSE", "docker compose")

# Declared by a macro, so that `cargo fmt` does not find them.
migrations := "services/*/src/migrations/*.rs"

# The commit of the last version that may run anywhere: `upgrade` starts from it.
earlier := "0740c0e3f922a5dd2e5b027aabf6b3aab2f196e0"

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
    rustfmt --edition 2024 {{ migrations }}

# Check the format, the lints, the documentation and the direction of dependencies
lint:
    cargo fmt --all --check
    rustfmt --edition 2024 --check {{ migrations }}
    cargo clippy --workspace --all-targets -- --deny warnings
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
    .ci/dependencies

# Kill, pause, replace and overload processes, in more rounds than `test` does; exact limits from 3 rounds on
faults rounds="2":
    TURBULENCE_FAULT_ROUNDS={{ rounds }} cargo test --package turbulence --test faults

# Send what hostile clients send to a site under a limit of memory, with readers beside them
hostile seconds="6":
    TURBULENCE_HOSTILE_SECONDS={{ seconds }} cargo test --release --package turbulence --test hostile

# Replace the processes of an earlier commit by those of this one, and back, on one database
upgrade reference=earlier:
    program="$(.ci/earlier {{ reference }})" && \
        TURBULENCE_EARLIER_PROGRAM="$program" cargo test --package turbulence --test faults -- 28::

# Run the HTML sanitiser against random documents, with limits of time and memory
fuzz-html seconds="60":
    TURBULENCE_FUZZ_SECONDS={{ seconds }} cargo test --release --package content-service --lib \
        html::tests::fuzz -- --nocapture

# Generate docs/openapi.json, the description of the API, from the code
openapi:
    mkdir -p target
    cargo run --package turbulence -- openapi > target/openapi.json
    mv target/openapi.json docs/openapi.json

# Test a running gateway with requests made from its OpenAPI description (needs Python 3 with pip)
schemathesis *options:
    cargo build --package turbulence
    .ci/schemathesis "${CARGO_TARGET_DIR:-target}/debug/turbulence" {{ options }}

# Install what the packages for Node.js need, and build the TypeScript client
[private]
typescript-client:
    npm ci --no-audit --no-fund
    npm --workspace turbulence-client run build

# Lint docs/openapi.json, and test the TypeScript client with a live site, in Node.js and Chromium (needs Node.js with npm)
typescript: typescript-client
    cargo build --package turbulence
    TURBULENCE="${CARGO_TARGET_DIR:-$PWD/target}/debug/turbulence" \
        npm --workspace turbulence-client run check

# Build the example of Next.js, and look at its pages in Chromium while the content changes (needs Node.js with npm)
nextjs: typescript-client
    cargo build --package turbulence
    NEXT_TELEMETRY_DISABLED=1 npm --workspace turbulence-nextjs-example run build
    TURBULENCE="${CARGO_TARGET_DIR:-$PWD/target}/debug/turbulence" \
        npm --workspace turbulence-nextjs-example test

# Copy the scripts that the console includes from npm (needs Node.js with npm)
vendor:
    npm --prefix services/console/e2e ci --no-audit --no-fund
    npm --prefix services/console/e2e run vendor

# Use the console of a live site in Chromium; screenshots are in target/console (needs Node.js with npm)
console: vendor
    git diff --exit-code -- services/console/static/vendor services/console/static/vendor.json
    cargo build --package turbulence
    CHROMIUM="$(.ci/chromium)" npm --prefix services/console/e2e test -- \
        "${CARGO_TARGET_DIR:-$PWD/target}/debug/turbulence" "${CARGO_TARGET_DIR:-$PWD/target}/console"

# Validate the manifests of Kubernetes (needs Python 3 with pip)
manifests:
    .ci/manifests

# Run everything that a change has to pass
ci: lint manifests test faults typescript nextjs console schemathesis

# Run the benchmarks
bench *arguments:
    cargo bench --package turbulence {{ arguments }}

# Check the licences, sources and banned crates of dependencies (needs cargo-deny)
deny:
    cargo deny check bans licenses sources

# Check dependencies for known vulnerabilities (needs cargo-deny and a network)
advisories:
    cargo deny check advisories

# Build the container images
images:
    {{ compose }} --profile commands build

# Start the cluster in containers
compose-up *arguments:
    {{ compose }} up --build --detach {{ arguments }}

# Wait until the cluster is ready, and print its sections
compose-check:
    curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-all-errors \
        --output /dev/null http://127.0.0.1:5001/health/ready
    curl --silent --show-error --fail http://127.0.0.1:5001/sections

# Stop the cluster in containers; `--volumes` deletes its data
compose-down *arguments:
    {{ compose }} down {{ arguments }}
