#!/usr/bin/env bash
# What only a real BigQuery project shows: refusals of IAM, masks and tags, a key of one's own, bytes read, rate limits.
#
#   AI_AUDIT_BIGQUERY_PROJECT=my-project SMOKE_SRE=sre-smoke@my-project.iam.gserviceaccount.com … \
#     observability/bigquery/smoke.sh
#
# It makes two datasets, ai_audit_smoke_… and ai_audit_smoke_…_views, and deletes both; the taxonomy of columns.yaml stays
# where it was there before, and goes where it was not. Nothing else is touched. It takes some minutes.
#
# Needs bq, gcloud, curl and this project's .venv, and in observability/access/groups.yaml your own groups. Whoever runs
# it owns the project's BigQuery (roles/bigquery.admin, roles/datacatalog.categoryAdmin) and may act as these service
# accounts (roles/iam.serviceAccountTokenCreator), each a member of one group and with roles/bigquery.jobUser:
#   SMOKE_COMPLIANCE, SMOKE_PRODUCT, SMOKE_SRE, SMOKE_NOBODY (a member of none), SMOKE_PIPELINE (the writer of groups.yaml)
# Where one is not given, its steps are skipped, and said.
#   SMOKE_KMS_KEY  projects/…/cryptoKeys/…: the datasets are made with it
#   AI_AUDIT_BIGQUERY_LOCATION  US, where not given
set -uo pipefail
export LC_ALL=C.UTF-8

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
PROJECT="${AI_AUDIT_BIGQUERY_PROJECT:-}"
LOCATION="${AI_AUDIT_BIGQUERY_LOCATION:-US}"
DATASET="ai_audit_smoke_$(date -u +%Y%m%d%H%M%S)"
TAXONOMY="$(sed -n 's/^taxonomy: *//p' "$ROOT/observability/access/columns.yaml")"
CATALOG="https://datacatalog.googleapis.com/v1"
PASSED=0 FAILED=0 SKIPPED=0 MADE_TAXONOMY=""

export AI_AUDIT_BIGQUERY_PROJECT="$PROJECT" AI_AUDIT_BIGQUERY_LOCATION="$LOCATION" AI_AUDIT_BIGQUERY_DATASET="$DATASET"
unset AI_AUDIT_BIGQUERY_ENDPOINT

for tool in bq gcloud curl "$PYTHON"; do
  command -v "$tool" >/dev/null || { echo "smoke.sh needs $(basename "$tool"), which is not there" >&2; exit 2; }
done
[[ -n "$PROJECT" ]] || { echo "name the project in AI_AUDIT_BIGQUERY_PROJECT" >&2; exit 2; }

pass() { PASSED=$((PASSED + 1)); echo "PASS  $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL  $1"; [[ $# -lt 2 ]] || echo "      expected $2, got: ${3:0:400}"; }
skip() { SKIPPED=$((SKIPPED + 1)); echo "SKIP  $1: $2 is not given"; }

# query SQL: as whoever runs this. query_as ACCOUNT SQL: as that account. The first column of the first row.
query() { bq --quiet --headless --project_id="$PROJECT" --location="$LOCATION" query --use_legacy_sql=false --format=csv "$1" 2>&1; }
query_as() { CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT="$1" query "$2"; }

audit() { "$PYTHON" -m audit_assets.cli "$@"; }

# sees NAME ACCOUNT SQL EXPECTED: the account's query yields just that.
sees() {
  [[ -n "$2" ]] || { skip "$1" "its account"; return; }
  local got; got="$(query_as "$2" "$3" | tail -n 1)"
  if [[ "$got" == "$4" ]]; then pass "$1"; else fail "$1" "$4" "$got"; fi
}

# refused NAME ACCOUNT SQL: BigQuery denies it.
refused() {
  [[ -n "$2" ]] || { skip "$1" "its account"; return; }
  local got; got="$(query_as "$2" "$3")"
  if grep -qiE "access denied|permission|does not have" <<<"$got"; then pass "$1"; else fail "$1" "a refusal" "$got"; fi
}

# bytes SQL: what a query would read.
bytes() {
  bq --quiet --headless --project_id="$PROJECT" --location="$LOCATION" --format=json query --use_legacy_sql=false --dry_run "$1" 2>/dev/null |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["statistics"]["totalBytesProcessed"])' 2>/dev/null
}

taxonomy() {
  curl -sf -H "Authorization: Bearer $(gcloud auth print-access-token)" \
    "$CATALOG/projects/$PROJECT/locations/${LOCATION,,}/taxonomies?pageSize=200" |
    "$PYTHON" -c 'import json, sys
print(next((one["name"] for one in json.load(sys.stdin).get("taxonomies", []) if one["displayName"] == sys.argv[1]), ""))' "$TAXONOMY"
}

clean_up() {
  echo "cleaning up"
  bq --quiet --headless --project_id="$PROJECT" rm -r -f -d "${DATASET}_views" >/dev/null 2>&1
  bq --quiet --headless --project_id="$PROJECT" rm -r -f -d "$DATASET" >/dev/null 2>&1
  if [[ -n "$MADE_TAXONOMY" ]]; then
    curl -sf -X DELETE -H "Authorization: Bearer $(gcloud auth print-access-token)" \
      "$CATALOG/$(taxonomy)" >/dev/null || echo "the taxonomy $TAXONOMY could not be deleted"
  fi
}

cd "$ROOT" || exit 1
echo "project $PROJECT, location $LOCATION, dataset $DATASET"
before="$(taxonomy)" || { echo "Data Catalog does not answer: enable datacatalog.googleapis.com, bigquerydatapolicy.googleapis.com" >&2; exit 1; }
trap clean_up EXIT

# 1. Datasets, with a key where one is given.
for dataset in "$DATASET" "${DATASET}_views"; do
  key=()
  [[ -z "${SMOKE_KMS_KEY:-}" ]] || key=(--default_kms_key "$SMOKE_KMS_KEY")
  bq --quiet --headless --project_id="$PROJECT" --location="$LOCATION" mk --dataset "${key[@]}" "$PROJECT:$dataset" >/dev/null ||
    { echo "the dataset cannot be made" >&2; exit 1; }
done
if [[ -n "${SMOKE_KMS_KEY:-}" ]]; then
  query "create table \`$PROJECT.$DATASET.keyed\` as select 1 as one" >/dev/null
  got="$(bq --project_id="$PROJECT" --format=json show "$DATASET.keyed")"
  if grep -qF "$SMOKE_KMS_KEY" <<<"$got"; then pass "a table is encrypted by the key"; else fail "a table is encrypted by the key" "$SMOKE_KMS_KEY" "$got"; fi
else
  skip "a table is encrypted by the key" SMOKE_KMS_KEY
fi

# 2. The sync's tables, and rows: recent, of a drill, and old.
"$PYTHON" - <<'PY' >"${TMPDIR:-/tmp}/$DATASET.sql"
from audit_assets.settings import read_settings
from audit_assets.warehouse.bigquery.client import location_of
from audit_assets.warehouse.bigquery.schema import create_statements
from audit_assets.warehouse.bigquery.client import BigQueryTerms

here = location_of(read_settings(env_file=None))
print(";\n".join(create_statements(here, BigQueryTerms(), ())) + ";")
place = f"{here.project}.{here.dataset}"
logs = "(id, workflow_id, drill_id, source_documents, created_at)"
print(f"""insert into `{place}.ai_audit_logs` {logs} values
  ('recent', 'ws-1', null, 'a document', timestamp_sub(current_timestamp(), interval 1 day)),
  ('of a drill', 'ws-1', 'drill-1', 'a document', timestamp_sub(current_timestamp(), interval 1 day)),
  ('old', 'ws-2', null, 'a document', timestamp_sub(current_timestamp(), interval 90 day));
insert into `{place}.ai_audit_workspaces` (workspace_id, name, owner) values ('ws-1', 'Secret', 'owner@smoke.test');""")
PY
got="$(bq --quiet --headless --project_id="$PROJECT" --location="$LOCATION" query --use_legacy_sql=false <"${TMPDIR:-/tmp}/$DATASET.sql" 2>&1)" ||
  { fail "the tables are made" "no error" "$got"; exit 1; }
rm -f "${TMPDIR:-/tmp}/$DATASET.sql"

# 3. Access, applied and then complete.
[[ -n "$before" ]] || MADE_TAXONOMY=yes
if got="$(audit access apply --yes 2>&1)"; then pass "audit access apply"; else fail "audit access apply" "no refusal" "$(tail -n 3 <<<"$got")"; fi
if got="$(audit access plan 2>&1)"; then pass "applied, there is nothing left to do"; else fail "applied, there is nothing left to do" "no change" "$got"; fi
echo "grants take up to a few minutes to be true everywhere: waiting 3 minutes"
sleep 180

# 4. What each group sees, and what it is refused.
LOGS="\`$PROJECT.$DATASET.ai_audit_logs\`" SPACES="\`$PROJECT.$DATASET.ai_audit_workspaces\`"
VIEW="\`$PROJECT.${DATASET}_views.interactions\`" SINCE="created_at >= timestamp '2020-01-01'"
COMPLIANCE="${SMOKE_COMPLIANCE:-}" PRODUCT="${SMOKE_PRODUCT:-}" SRE="${SMOKE_SRE:-}" NOBODY="${SMOKE_NOBODY:-}" PIPELINE="${SMOKE_PIPELINE:-}"
sees "compliance sees every row" "$COMPLIANCE" "select count(*) from $LOGS where $SINCE" 3
sees "compliance sees an owner" "$COMPLIANCE" "select owner from $SPACES" owner@smoke.test
sees "product analytics sees no drill" "$PRODUCT" "select count(*) from $VIEW where $SINCE" 2
sees "sre sees 30 days: current_timestamp() works in a row policy" "$SRE" "select count(*) from $VIEW where $SINCE" 2
sees "sre sees an owner masked" "$SRE" "select cast(owner != 'owner@smoke.test' and length(owner) > 20 as string) from $SPACES" true
refused "product analytics may not read raw rows" "$PRODUCT" "select id from $LOGS where $SINCE"
refused "product analytics may not read workspaces" "$PRODUCT" "select team from $SPACES"
refused "sre may not read raw rows" "$SRE" "select source_documents from $LOGS where $SINCE"
refused "compliance may not write" "$COMPLIANCE" "delete from $SPACES where true"
refused "sre may not write" "$SRE" "insert into $SPACES (workspace_id) values ('x')"
refused "nobody may not read a view" "$NOBODY" "select id from $VIEW where $SINCE"
refused "nobody may not read a table" "$NOBODY" "select id from $LOGS where $SINCE"
if [[ -n "$PIPELINE" ]]; then
  bq --project_id="$PROJECT" add-iam-policy-binding --member="serviceAccount:$PIPELINE" --role=roles/bigquery.dataEditor --table=true "$PROJECT:$DATASET.ai_audit_logs" >/dev/null 2>&1
  sleep 60
  sees "the writer merges, and sees every row" "$PIPELINE" "merge $LOGS t using (select 'old' as id) s on t.id = s.id and $SINCE when matched then update set status = 'ok'; select count(*) from $LOGS where $SINCE and status = 'ok'" 1
else
  skip "the writer merges, and sees every row" SMOKE_PIPELINE
fi

# 5. What a table keeps when it is made again, as dbt does.
query "create table \`$PROJECT.$DATASET.ai_audit_daily\` (date date)" >/dev/null
audit access apply --yes >/dev/null 2>&1
query "create or replace table \`$PROJECT.$DATASET.ai_audit_daily\` (date date, more int64)" >/dev/null
if audit access plan >/dev/null 2>&1; then pass "create or replace table keeps a table's grants"; else fail "create or replace table keeps a table's grants: apply after each full refresh"; fi
query "create or replace view $VIEW as select id, created_at from $LOGS" >/dev/null
got="$(audit access plan 2>/dev/null)"
if grep -q "the view interactions" <<<"$got" && ! grep -q "read ${DATASET}_views.interactions" <<<"$got"; then
  pass "a view that was changed by hand is found, and its grants are kept"
else
  fail "a view that was changed by hand is found, and its grants are kept" "the view alone" "$got"
fi

# 6. What queries read: a policy does not prune, a condition does.
day="$(bytes "select id from $LOGS where created_at >= timestamp_sub(current_timestamp(), interval 2 day)")"
all="$(bytes "select id from $LOGS where $SINCE")"
if [[ -n "$day" && -n "$all" && "$day" -lt "$all" ]]; then pass "two days read $day bytes, all days $all"; else fail "a condition on created_at prunes" "less than ${all:-nothing}" "${day:-nothing}"; fi
got="$(query "select count(id) from $LOGS")"
if grep -q "without a filter" <<<"$got"; then pass "a query without a condition on created_at is refused"; else fail "a query without a condition on created_at is refused" "a refusal" "$got"; fi

# 7. Limits: a table's metadata may change five times in ten seconds.
said="$(for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
  query "alter table \`$PROJECT.$DATASET.ai_audit_daily\` set options (description = '$number')" &
done; wait)"
if grep -qi "rate limit" <<<"$said"; then pass "BigQuery says which limit is reached"; else fail "twelve changes at once reach a limit" "a word on rate limits" "$said"; fi

echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[[ "$FAILED" -eq 0 ]]
