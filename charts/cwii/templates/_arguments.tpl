{{/* Arguments of the webhook, as a list. */}}
{{- define "cwii.arguments" -}}
{{- if and (eq .Values.providers.gcp.defaultDelivery "config-map") (not .Values.configMapDelivery) -}}
{{- fail "\n\n`providers.gcp.defaultDelivery` is `config-map`, which needs `configMapDelivery: true`: it lets the webhook write ConfigMaps.\n" -}}
{{- end -}}
{{- if and (eq .Values.agent.image.tag "latest") (not .Values.agent.image.digest) -}}
{{- fail "\n\n`agent.image.tag` is `latest`: pods of one workload would run different agents. Name a version or a digest.\n" -}}
{{- end -}}
{{- $arguments := list -}}
{{- $name := include "cwii.webhook" . -}}
{{- if eq .Values.certificates.mode "self-signed" -}}
  {{- $names := include "cwii.dnsNames" . | fromYamlArray | join "," -}}
  {{- $arguments = append $arguments (printf "--tls-self-signed=%s" $names) -}}
  {{- $arguments = append $arguments (printf "--tls-secret=%s/%s" .Release.Namespace (include "cwii.secret" .)) -}}
  {{- $arguments = append $arguments (printf "--tls-webhook-configuration=%s" (include "cwii.name" .)) -}}
  {{- $arguments = append $arguments (printf "--tls-lifetime=%s" .Values.certificates.lifetime) -}}
  {{- $arguments = append $arguments (printf "--tls-overlap=%s" .Values.certificates.overlap) -}}
{{- else -}}
  {{- $arguments = append $arguments "--tls-cert-file=/etc/cwii/tls/tls.crt" -}}
  {{- $arguments = append $arguments "--tls-key-file=/etc/cwii/tls/tls.key" -}}
{{- end -}}
{{- if .Values.clientCertificate.configMap -}}
  {{- $arguments = append $arguments "--client-ca-file=/etc/cwii/client-ca/ca.crt" -}}
  {{- range .Values.clientCertificate.names -}}
    {{- $arguments = append $arguments (printf "--client-name=%s" .) -}}
  {{- end -}}
{{- end -}}
{{- range $provider := list "aws" "az" "gcp" -}}
  {{- $values := get $.Values.providers $provider -}}
  {{- $arguments = append $arguments (printf "--%s-enabled=%t" $provider $values.enabled) -}}
  {{- with $values.verifyImage -}}
    {{- $image := include "cwii.mirrored" (dict "reference" . "replace" false "root" $) -}}
    {{- $arguments = append $arguments (printf "--%s-verify-image=%s" $provider $image) -}}
  {{- end -}}
{{- end -}}
{{- with .Values.providers.aws.defaultRegion -}}
  {{- $arguments = append $arguments (printf "--aws-default-region=%s" .) -}}
{{- end -}}
{{- with .Values.providers.az.defaultTenantId -}}
  {{- $arguments = append $arguments (printf "--az-default-tenant-id=%s" .) -}}
{{- end -}}
{{- with .Values.providers.az.defaultAuthorityHost -}}
  {{- $arguments = append $arguments (printf "--az-default-authority-host=%s" .) -}}
{{- end -}}
{{- with .Values.providers.gcp.defaultAudience -}}
  {{- $arguments = append $arguments (printf "--gcp-default-audience=%s" .) -}}
{{- end -}}
{{- $arguments = append $arguments (printf "--gcp-default-delivery=%s" .Values.providers.gcp.defaultDelivery) -}}
{{- $arguments = append $arguments (printf "--config-map-delivery=%t" .Values.configMapDelivery) -}}
{{- $arguments = append $arguments (printf "--native-annotations=%t" .Values.nativeAnnotations) -}}
{{- $arguments = append $arguments (printf "--agent-image=%s" (include "cwii.image" (dict "image" .Values.agent.image "root" .))) -}}
{{- range .Values.verifyImageAllow -}}
  {{- $arguments = append $arguments (printf "--verify-image-allow=%s" .) -}}
{{- end -}}
{{- /* The kubelet takes `$(NAME)` for a variable, and `$$` for a `$`. */ -}}
{{- range $variable, $value := .Values.verifyEnv -}}
  {{- $arguments = append $arguments (printf "--verify-env=%s=%s" $variable ($value | replace "$(" "$$(")) -}}
{{- end -}}
{{- $resources := .Values.agent.resources -}}
{{- $arguments = append $arguments (printf "--verify-cpu-request=%v" $resources.requests.cpu) -}}
{{- $arguments = append $arguments (printf "--verify-memory-request=%v" $resources.requests.memory) -}}
{{- $arguments = append $arguments (printf "--verify-cpu-limit=%v" $resources.limits.cpu) -}}
{{- $arguments = append $arguments (printf "--verify-memory-limit=%v" $resources.limits.memory) -}}
{{- $arguments = append $arguments (printf "--log-level=%s" .Values.logLevel) -}}
{{- $arguments = append $arguments (printf "--log-format=%s" .Values.logFormat) -}}
{{- $arguments = concat $arguments .Values.extraArgs -}}
{{- toYaml $arguments -}}
{{- end -}}
