#!/bin/sh
# Resolve the newest versions that pyproject.toml allows for Python 3.13, with the digests of their files:
# cpu.txt and cuda.txt for the two engines, build.txt for the tools that build wheels, release.txt (for Python 3.11
# and later) for those that build a release, and capture.txt for the extra capture-link beside cpu.txt.
# Run it by `make constraints`; it needs uv. `update.sh capture` renews the last list alone, which is due every week.
set -eu
cd "$(dirname "$0")/../.."
EXTRAS="--extra service --extra provenance --extra perceptual"
resolve() {
	output=deploy/constraints/$1.txt
	shift
	uv pip compile --quiet --no-config --python-version "${PYTHON_VERSION:-3.13}" --python-platform x86_64-manylinux_2_28 --upgrade --generate-hashes \
		--no-emit-index-url --custom-compile-command "make constraints" --output-file "$output" "$@"
}
if [ "${1:-}" != capture ]; then
	# shellcheck disable=SC2086
	resolve cpu --extra cpu $EXTRAS pyproject.toml
	# shellcheck disable=SC2086
	resolve cuda --extra cuda $EXTRAS pyproject.toml
	resolve build deploy/constraints/build.in
	PYTHON_VERSION=3.11 resolve release deploy/constraints/release.in
fi
resolve capture --extra capture-link --constraints deploy/constraints/cpu.txt pyproject.toml
