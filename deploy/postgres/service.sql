-- The service's own role and database. The superuser of the server is not used by the service.
\set password `cat /run/secrets/database_password`
CREATE ROLE deepfake LOGIN PASSWORD :'password';
CREATE DATABASE deepfake OWNER deepfake;
REVOKE ALL ON DATABASE deepfake FROM PUBLIC;
