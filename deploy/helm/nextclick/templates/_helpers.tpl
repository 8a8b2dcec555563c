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

{{- /* nextclick.toml as JSON, checked for what contradicts the chart or cannot work in a pod. */ -}}
{{- define "nextclick.settings" -}}
{{- $settings := fromToml .Values.config -}}
{{- if hasKey $settings "Error" -}}
{{- fail (printf "config is not TOML: %s" $settings.Error) -}}
{{- end -}}
{{- include "nextclick.checkSettings" (dict "settings" $settings "values" .Values) -}}
{{- include "nextclick.checkMembership" (dict "settings" $settings "values" .Values) -}}
{{- toJson $settings -}}
{{- end -}}

{{- define "nextclick.checkSettings" -}}
{{- $settings := .settings -}}
{{- $values := .values -}}
{{- if hasKey $settings "worker_id" -}}
{{- fail "config has worker_id: each pod has its own, its name. Remove it" -}}
{{- end -}}
{{- range $section, $keys := $settings -}}
{{- if kindIs "map" $keys -}}
{{- range $key, $value := $keys -}}
{{- if and $value (regexMatch "(password|secret|token)$" $key) -}}
{{- fail (printf "config has %s.%s, and whoever may read the ConfigMap could read it. Put it into the Secret that credentialsSecret names, as NEXTCLICK_%s_%s" $section $key (upper $section) (upper $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (dig "kafka" "bootstrap_servers" "" $settings) -}}
{{- fail "config has no kafka.bootstrap_servers: pods would look for Kafka on themselves. Add it, such as \"kafka:9092\"" -}}
{{- end -}}
{{- $protocol := dig "kafka" "security_protocol" "PLAINTEXT" $settings -}}
{{- $login := and (hasPrefix "SASL_" $protocol) (ne (dig "kafka" "sasl_mechanism" "" $settings) "AWS_MSK_IAM") -}}
{{- if and $login (not $values.credentialsSecret) (not $values.filesSecret) -}}
{{- fail (printf "config has kafka.security_protocol = %q, and no Secret is named. Set credentialsSecret to the Secret with the login" $protocol) -}}
{{- end -}}
{{- if and (contains "/etc/nextclick-files/" $values.config) (not $values.filesSecret) -}}
{{- fail "config names a file in /etc/nextclick-files, and filesSecret is empty. Set it to the Secret with the files" -}}
{{- end -}}
{{- range $section := list "http" "metrics" -}}
{{- if eq (dig $section "port" 1 $settings | int) 0 -}}
{{- fail (printf "config has %s.port = 0, and probes need a fixed port. Remove it" $section) -}}
{{- end -}}
{{- $host := dig $section "host" "" $settings -}}
{{- if or (eq $host "localhost") (eq $host "::1") (hasPrefix "127." $host) -}}
{{- fail (printf "config has %s.host = %q, where no probe reaches the pod. Remove it: the chart sets 0.0.0.0" $section $host) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "nextclick.checkMembership" -}}
{{- $settings := .settings -}}
{{- $values := .values -}}
{{- $static := dig "static_membership" nil $settings -}}
{{- $session := dig "kafka" "session_timeout_ms" 0 $settings | int -}}
{{- $most := int $values.autoscaled.maxReplicas -}}
{{- if eq $values.membership "autoscaled" -}}
{{- if $values.fixed.replicas -}}
{{- fail "membership is autoscaled, and fixed.replicas is given. Remove it, or set membership to fixed" -}}
{{- end -}}
{{- if not $most -}}
{{- fail "membership is autoscaled: set autoscaled.maxReplicas, at most to the number of partitions of clicks" -}}
{{- end -}}
{{- if gt (int $values.autoscaled.minReplicas) $most -}}
{{- fail (printf "autoscaled.minReplicas is %v, and autoscaled.maxReplicas is %d. The first must not be larger" $values.autoscaled.minReplicas $most) -}}
{{- end -}}
{{- if eq (toJson $static) "true" -}}
{{- fail "membership is autoscaled, and config has static_membership = true: the partitions of a worker that was scaled in would wait for its session to end. Remove it, or set membership to fixed" -}}
{{- end -}}
{{- if ge $session 45000 -}}
{{- fail (printf "membership is autoscaled, and config has kafka.session_timeout_ms = %d, which is for fixed: the partitions of a lost worker would wait that long. Remove it, or set membership to fixed" $session) -}}
{{- end -}}
{{- if and (ne (dig "kafka" "security_protocol" "PLAINTEXT" $settings) "PLAINTEXT") (not $values.autoscaled.triggerAuthentication) -}}
{{- fail "membership is autoscaled, and KEDA cannot log in to Kafka to read the lag. Set autoscaled.triggerAuthentication to a TriggerAuthentication with the login and the CA" -}}
{{- end -}}
{{- else -}}
{{- if $most -}}
{{- fail "membership is fixed, and autoscaled.maxReplicas is given. Remove it, or set membership to autoscaled" -}}
{{- end -}}
{{- if eq (toJson $static) "false" -}}
{{- fail "membership is fixed, and config has static_membership = false. Remove it, or set membership to autoscaled" -}}
{{- end -}}
{{- if $session -}}
{{- fail (printf "membership is fixed, and config has kafka.session_timeout_ms = %d. Remove it: fixed.sessionTimeoutMs decides" $session) -}}
{{- end -}}
{{- end -}}
{{- $workers := $most | default (include "nextclick.replicas" $values | int) -}}
{{- if and $values.topics.enabled $values.topics.createClicks (gt $workers (int $values.topics.partitions)) -}}
{{- fail (printf "there may be %d workers, and topics.partitions is %v: each partition has one worker, so the others would be idle. Raise topics.partitions, or lower the number of workers" $workers $values.topics.partitions) -}}
{{- end -}}
{{- end -}}

{{- define "nextclick.replicas" -}}
{{- .fixed.replicas | default 2 -}}
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
