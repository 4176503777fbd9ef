-- pipeline, compliance, dashboards see every row of analytics.ai_audit_logs
create or replace row access policy ai_audit_every_row
on `mad-vibe-prod.analytics.ai_audit_logs`
grant to ('group:ai-audit-compliance@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com', 'serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com')
filter using (true);

-- product-analytics see rows where drill_id is null of analytics.ai_audit_logs
create or replace row access policy ai_audit_no_drills
on `mad-vibe-prod.analytics.ai_audit_logs`
grant to ('group:ai-audit-product@example.com')
filter using (drill_id is null);

-- sre see rows where created_at >= timestamp_sub(current_timestamp(), interval 30 day) of analytics.ai_audit_logs
create or replace row access policy ai_audit_last_30_days
on `mad-vibe-prod.analytics.ai_audit_logs`
grant to ('group:ai-audit-sre@example.com')
filter using (created_at >= timestamp_sub(current_timestamp(), interval 30 day));

-- pipeline, compliance, dashboards see the columns tagged person
-- policyTags.setIamPolicy ai_audit_observability / person, exactly:
--   roles/datacatalog.categoryFineGrainedReader group:ai-audit-compliance@example.com
--   roles/datacatalog.categoryFineGrainedReader serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com
--   roles/datacatalog.categoryFineGrainedReader serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com

-- sre see them masked (SHA256)
-- dataPolicies ai_audit_observability / person: SHA256, exactly:
--   roles/bigquerydatapolicy.maskedReader group:ai-audit-sre@example.com

-- pipeline, compliance, dashboards see the columns tagged evidence
-- policyTags.setIamPolicy ai_audit_observability / evidence, exactly:
--   roles/datacatalog.categoryFineGrainedReader group:ai-audit-compliance@example.com
--   roles/datacatalog.categoryFineGrainedReader serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com
--   roles/datacatalog.categoryFineGrainedReader serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com

-- pipeline, compliance see the columns tagged repairs
-- policyTags.setIamPolicy ai_audit_observability / repairs, exactly:
--   roles/datacatalog.categoryFineGrainedReader group:ai-audit-compliance@example.com
--   roles/datacatalog.categoryFineGrainedReader serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com

-- model_parameters is tagged evidence, snapshot_id is tagged evidence, source_documents is tagged evidence
-- tables.patch analytics.ai_audit_logs, policy tags:
--   model_parameters: evidence
--   snapshot_id: evidence
--   source_documents: evidence

-- after is tagged repairs, before is tagged repairs
-- tables.patch analytics.ai_audit_repair_diff, policy tags:
--   after: repairs
--   before: repairs

-- name is tagged person, owner is tagged person
-- tables.patch analytics.ai_audit_workspaces, policy tags:
--   name: person
--   owner: person

-- analytics_views is created for the authorized views
create schema if not exists `mad-vibe-prod.analytics_views`
options (location = 'US', description = 'Authorized views of analytics.');

-- projectReaders do not read all of analytics_views
-- datasets.patch analytics_views, access:
--   - READER projectReaders

-- the view interactions shows id, created_at, capability, provider, model, status, error_flag, duration_ms, prompt_tokens, completion_tokens, prompt_length, workspace_key of ai_audit_logs
create or replace view `mad-vibe-prod.analytics_views.interactions`
options (description = 'One row per interaction, without documents, snapshot, completion and model parameters.') as
select
  id,
  created_at,
  capability,
  provider,
  model,
  status,
  error_flag,
  duration_ms,
  prompt_tokens,
  completion_tokens,
  prompt_length,
  to_hex(sha256(workflow_id)) as workspace_key
from `mad-vibe-prod.analytics.ai_audit_logs`;

-- the view workspaces shows team, last_accessed_at, synced_at, workspace_key of ai_audit_workspaces
create or replace view `mad-vibe-prod.analytics_views.workspaces`
options (description = 'One row per workspace, without its name and owner.') as
select
  team,
  last_accessed_at,
  synced_at,
  to_hex(sha256(workspace_id)) as workspace_key
from `mad-vibe-prod.analytics.ai_audit_workspaces`;

-- interactions, workspaces read analytics as authorized views
-- datasets.patch analytics, access:
--   + view analytics_views.interactions
--   + view analytics_views.workspaces

-- compliance (group:ai-audit-compliance@example.com) read all of analytics
-- datasets.patch analytics, access:
--   + READER group:ai-audit-compliance@example.com

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_alert_deliveries
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_alert_deliveries`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_alert_events
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_alert_events`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_alerts
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_alerts`
to 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_capabilities
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_capabilities`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_capability_anomalies
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_capability_anomalies`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_capability_grid
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_capability_grid`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_capability_outcomes
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_capability_outcomes`
to 'group:ai-audit-sre@example.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_capability_stats
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_capability_stats`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_daily
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_daily`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com) read analytics.ai_audit_data_quality
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_data_quality`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_days
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_days`
to 'group:ai-audit-sre@example.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_error_funnel
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_error_funnel`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_latency_histogram
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_latency_histogram`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_logs
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_logs`
to 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_model_builds
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_model_builds`
to 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_rejects
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_rejects`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_status_words
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_status_words`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_sync_state
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_sync_state`
to 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_total_grid
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_total_grid`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_total_outcomes
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_total_outcomes`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_workspace_counts
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_workspace_counts`
to 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- product-analytics (group:ai-audit-product@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_workspace_coverage
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_workspace_coverage`
to 'group:ai-audit-product@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- sre (group:ai-audit-sre@example.com) read analytics.ai_audit_workspace_stats
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_workspace_stats`
to 'group:ai-audit-sre@example.com';

-- sre (group:ai-audit-sre@example.com), dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.ai_audit_workspaces
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.ai_audit_workspaces`
to 'group:ai-audit-sre@example.com', 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- dashboards (serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com) read analytics.stg_ai_audit_logs
grant `roles/bigquery.dataViewer`
on table `mad-vibe-prod.analytics.stg_ai_audit_logs`
to 'serviceAccount:ai-audit-dashboards@example-project.iam.gserviceaccount.com';

-- compliance (group:ai-audit-compliance@example.com) read all of analytics_views
-- datasets.patch analytics_views, access:
--   + READER group:ai-audit-compliance@example.com

-- product-analytics (group:ai-audit-product@example.com), sre (group:ai-audit-sre@example.com) read analytics_views.interactions
grant `roles/bigquery.dataViewer`
on view `mad-vibe-prod.analytics_views.interactions`
to 'group:ai-audit-product@example.com', 'group:ai-audit-sre@example.com';

-- product-analytics (group:ai-audit-product@example.com) read analytics_views.workspaces
grant `roles/bigquery.dataViewer`
on view `mad-vibe-prod.analytics_views.workspaces`
to 'group:ai-audit-product@example.com';

