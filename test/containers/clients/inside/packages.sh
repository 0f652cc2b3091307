#!/bin/sh
# packages.sh DIRECTORY BASE: a package of each kind with the clients' own tools, laid out as its registry serves it at BASE/KIND.
set -eu
at=$1 base=$2 work=$(mktemp -d)
cd "$work"

mkdir -p "$at/pip/simple/tiny" "$work/wheel/tiny-1.0.dist-info"
echo 'value = 1' >wheel/tiny.py
printf 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n' >wheel/tiny-1.0.dist-info/METADATA
printf 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n' >wheel/tiny-1.0.dist-info/WHEEL
printf 'tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n' >wheel/tiny-1.0.dist-info/RECORD
(cd wheel && python3 -m zipfile -c "$at/pip/simple/tiny/tiny-1.0-py3-none-any.whl" tiny.py tiny-1.0.dist-info)
echo '<a href="tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>' >"$at/pip/simple/tiny/index.html"

mkdir -p "$at/gem/gems" gem
cat >gem/tiny.gemspec <<'GEM'
Gem::Specification.new do |s|
  s.name = "tiny"
  s.version = "1.0.0"
  s.summary = "nothing"
  s.authors = ["nobody"]
  s.files = []
end
GEM
(cd gem && gem build -q tiny.gemspec && mv tiny-1.0.0.gem "$at/gem/gems/")
gem generate_index -q -d "$at/gem" >/dev/null

mkdir -p "$at/cargo/index/ti/ny" "$at/cargo/crates" tiny-1.0.0/src
printf '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n' >tiny-1.0.0/Cargo.toml
: >tiny-1.0.0/src/lib.rs
tar -czf "$at/cargo/crates/tiny-1.0.0.crate" tiny-1.0.0
sum=$(sha256sum "$at/cargo/crates/tiny-1.0.0.crate" | cut -d' ' -f1)
echo "{\"name\":\"tiny\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"$sum\",\"features\":{},\"yanked\":false}" >"$at/cargo/index/ti/ny/tiny"
echo "{\"dl\":\"$base/cargo/crates/{crate}-{version}.crate\",\"api\":\"$base/cargo\"}" >"$at/cargo/index/config.json"

versions="$at/go/example.test/tiny/@v" module=example.test/tiny@v1.0.0
mkdir -p "$versions" "$module"
printf 'module example.test/tiny\n' | tee "$module/go.mod" >"$versions/v1.0.0.mod"
echo 'package tiny' >"$module/tiny.go"
echo '{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}' >"$versions/v1.0.0.info"
# A module's archive has no entries for directories.
python3 -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1], "w"); [z.write(f) for f in sys.argv[2:]]' \
  "$versions/v1.0.0.zip" "$module/go.mod" "$module/tiny.go"

mkdir -p "$at/maven/test/example/parent/1.0"
cat >"$at/maven/test/example/parent/1.0/parent-1.0.pom" <<'POM'
<project><modelVersion>4.0.0</modelVersion><groupId>test.example</groupId><artifactId>parent</artifactId><version>1.0</version><packaging>pom</packaging></project>
POM

rm -rf "$work"
