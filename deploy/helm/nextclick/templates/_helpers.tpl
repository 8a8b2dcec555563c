{{- define "nextclick.name" -}}
{{- ternary .Release.Name (printf "%s-nextclick" .Release.Name) (contains "nextclick" .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "nextclick.selector" -}}
app.kubernetes.io/name: nextclick
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nextclick.labels" -}}
{{ include "nextclick.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- /* nextclick.toml as JSON, after a look at what contradicts the chart. */ -}}
{{- define "nextclick.settings" -}}
{{- $settings := fromToml .Values.config -}}
{{- if hasKey $settings "Error" -}}
{{- fail (printf "config is not TOML: %s" $settings.Error) -}}
{{- end -}}
{{- if hasKey $settings "worker_id" -}}
{{- fail "config has worker_id: each pod has its own, its name. Remove it" -}}
{{- end -}}
{{- $static := dig "static_membership" nil $settings -}}
{{- $session := dig "kafka" "session_timeout_ms" 0 $settings | int -}}
{{- if eq .Values.membership "autoscaled" -}}
{{- if .Values.fixed.replicas -}}
{{- fail "membership is autoscaled, and fixed.replicas is given. Remove it, or set membership to fixed" -}}
{{- end -}}
{{- if not .Values.autoscaled.maxReplicas -}}
{{- fail "membership is autoscaled: set autoscaled.maxReplicas, at most to the number of partitions of clicks" -}}
{{- end -}}
{{- if eq (toJson $static) "true" -}}
{{- fail "membership is autoscaled, and config has static_membership = true: the partitions of a worker that was scaled in would wait for its session to end. Remove it, or set membership to fixed" -}}
{{- end -}}
{{- if ge $session 45000 -}}
{{- fail (printf "membership is autoscaled, and config has kafka.session_timeout_ms = %d, which is for fixed: the partitions of a lost worker would wait that long. Remove it, or set membership to fixed" $session) -}}
{{- end -}}
{{- else -}}
{{- if .Values.autoscaled.maxReplicas -}}
{{- fail "membership is fixed, and autoscaled.maxReplicas is given. Remove it, or set membership to autoscaled" -}}
{{- end -}}
{{- if eq (toJson $static) "false" -}}
{{- fail "membership is fixed, and config has static_membership = false. Remove it, or set membership to autoscaled" -}}
{{- end -}}
{{- if $session -}}
{{- fail (printf "membership is fixed, and config has kafka.session_timeout_ms = %d. Remove it: fixed.sessionTimeoutMs decides" $session) -}}
{{- end -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

{{- define "nextclick.group" -}}
{{- dig "group" "nextclick" (include "nextclick.settings" . | fromJson) -}}
{{- end -}}

{{- define "nextclick.image" -}}
{{- $name := index .root.Values.images .program -}}
{{- if contains "@" $name -}}{{ $name }}{{- else -}}{{ $name }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- /* What the containers have in common. `program` is worker or trainer, `credentials` the name of a Secret. */ -}}
{{- define "nextclick.container" -}}
image: {{ include "nextclick.image" . }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- with .credentials }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end -}}

{{- define "nextclick.mounts" -}}
- {name: settings, mountPath: /etc/nextclick, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.filesSecret }}
- {name: files, mountPath: /etc/nextclick-files, readOnly: true}
{{- end }}
{{- end -}}

{{- /* What the pods have in common. `settings` is the name of the ConfigMap. */ -}}
{{- define "nextclick.pod" -}}
# A Service called `nextclick` would make variables NEXTCLICK_PORT and so on, which are no settings.
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: settings
    configMap: {name: {{ .settings }}}
  - name: tmp
    emptyDir: {sizeLimit: 2Gi}
  {{- with .root.Values.filesSecret }}
  - name: files
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- with .claim }}
  - name: archive
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
{{- with .root.Values.pods }}
{{ toYaml . }}
{{- end }}
{{- end -}}
