{{/* Start of the names of all objects: the release's name, so that `helm install cwii` gives `cwii` and `cwii-webhook`. */}}
{{- define "cwii.name" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of Deployment, Service, ServiceAccount and roles of the webhook. */}}
{{- define "cwii.webhook" -}}
{{- include "cwii.name" . }}-webhook
{{- end -}}

{{/* The Secret with the webhook's certificate. */}}
{{- define "cwii.secret" -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{- .Values.certificates.existing.secretName | default (printf "%s-tls" (include "cwii.webhook" .)) -}}
{{- else -}}
{{- include "cwii.webhook" . }}-tls
{{- end -}}
{{- end -}}

{{/* What selects the webhook's pods; never changes, since a Deployment's selector cannot. */}}
{{- define "cwii.selector" -}}
app.kubernetes.io/name: cwii
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{/* Labels of every object but pods of the Deployment. */}}
{{- define "cwii.labels" -}}
{{ include "cwii.selector" . }}
{{ include "cwii.labels.release" . }}
{{- end -}}

{{- define "cwii.labels.release" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
Reference of one of our images: (dict "image" IMAGE "root" $). `image.registry` takes the place of the registry that the
repository names. A digest wins over a tag; without either the tag is the chart's appVersion.
*/}}
{{- define "cwii.image" -}}
{{- $image := .image -}}
{{- $repository := include "cwii.mirrored" (dict "reference" $image.repository "replace" true "root" .root) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default (.root.Chart.AppVersion | replace "+" "-")) -}}
{{- end -}}
{{- end -}}

{{/*
A reference with `image.registry` before it: (dict "reference" TEXT "replace" BOOL "root" $). One that names a registry
already keeps it, unless it is to be replaced.
*/}}
{{- define "cwii.mirrored" -}}
{{- $registry := .root.Values.image.registry | trimSuffix "/" -}}
{{- $first := regexFind "^[^/]+/" .reference -}}
{{- $named := regexMatch "[.:]|^localhost/$" $first -}}
{{- if not $registry -}}
{{- .reference -}}
{{- else if not $named -}}
{{- printf "%s/%s" $registry .reference -}}
{{- else if .replace -}}
{{- printf "%s/%s" $registry (trimPrefix $first .reference) -}}
{{- else -}}
{{- .reference -}}
{{- end -}}
{{- end -}}

{{/* What every pod of this chart has to be under Pod Security `restricted`. */}}
{{- define "cwii.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "cwii.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Names that the API server may call the webhook by; it uses the first. */}}
{{- define "cwii.dnsNames" -}}
{{- $service := printf "%s.%s" (include "cwii.webhook" .) .Release.Namespace -}}
- {{ $service }}.svc
- {{ $service }}.svc.cluster.local
{{- end -}}

{{- define "cwii.labels.test" -}}
app.kubernetes.io/name: cwii
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{ include "cwii.labels.release" . }}
{{- end -}}

{{/* Labels that a label selector picks. */}}
{{- define "cwii.selected" -}}
{{- $labels := dict -}}
{{- range .matchExpressions -}}
{{- if eq .operator "In" -}}{{- $_ := set $labels .key (first .values) -}}{{- end -}}
{{- if eq .operator "Exists" -}}{{- $_ := set $labels .key "true" -}}{{- end -}}
{{- end -}}
{{- with merge (deepCopy .matchLabels) $labels -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
