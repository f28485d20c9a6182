#!/bin/sh
# Resolve the newest versions that pyproject.toml allows for Python 3.13, with the digests of their files:
# cpu.txt and cuda.txt for the two engines, and build.txt for the tools that build wheels.
# Run it by `make constraints`; it needs uv.
set -eu
cd "$(dirname "$0")/../.."
EXTRAS="--extra service --extra provenance --extra perceptual --extra postgres"
resolve() {
	output=deploy/constraints/$1.txt
	shift
	uv pip compile --quiet --no-config --python-version 3.13 --python-platform x86_64-manylinux_2_28 --upgrade --generate-hashes \
		--no-emit-index-url --custom-compile-command "make constraints" --output-file "$output" "$@"
}
# shellcheck disable=SC2086
resolve cpu --extra cpu $EXTRAS pyproject.toml
# shellcheck disable=SC2086
resolve cuda --extra cuda $EXTRAS pyproject.toml
resolve build deploy/constraints/build.in
