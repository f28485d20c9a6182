#!/bin/sh
# Write the secrets that the compose files read to the folder secrets/ beside this script. Existing files are kept.
#   ./make-secrets.sh [--self-signed NAME]
# --self-signed also makes a certificate for NAME, to try the service out. Otherwise put the certificate chain and its
# key into secrets/tls-certificate.pem and secrets/tls-key.pem.
#
# The folder can only be entered by its owner. The files in it can be read by all, because the containers that they are
# mounted into run as different users. Keep a copy of master-key elsewhere: without it no case can be decrypted.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 0700 secrets
cd secrets

keep() { # NAME: write standard input to it, unless it exists
	if [ -e "$1" ]; then
		cat >/dev/null
		return
	fi
	cat >"$1.new"
	chmod 0444 "$1.new"
	mv "$1.new" "$1"
	echo "secrets/$1"
}

for name in admin-key master-key; do
	openssl rand -base64 32 | keep $name
done
for name in database-password postgres-password aws-secret-access-key grafana-password; do
	openssl rand -hex 24 | tr -d '\n' | keep $name
done
openssl rand -hex 10 | tr -d '\n' | keep aws-access-key-id
printf 'postgresql://deepfake:%s@database/deepfake' "$(cat database-password)" | keep database-url
# "Admin" may create the bucket.
printf '{"identities": [{"name": "deepfake", "actions": ["Admin"], "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}]}\n' \
	"$(cat aws-access-key-id)" "$(cat aws-secret-access-key)" | keep objects.json

if [ "${1:-}" = --self-signed ] && [ ! -e tls-key.pem ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -keyout tls-key.new -out tls-certificate.new \
		-subj "/CN=$2" -addext "subjectAltName=DNS:$2" 2>/dev/null
	keep tls-key.pem <tls-key.new
	keep tls-certificate.pem <tls-certificate.new
	rm -f tls-key.new tls-certificate.new
fi
