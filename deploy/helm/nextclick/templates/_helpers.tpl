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
{{- if not .Values.config -}}
{{- fail "config is not given. Add --set-file config=nextclick.toml, or, to an upgrade, --reset-then-reuse-values: it keeps the values of the release" -}}
{{- end -}}
{{- $settings := fromToml .Values.config -}}
{{- if hasKey $settings "Error" -}}
{{- fail (printf "config is not TOML: %s. Give the content of a file: --set-file config=nextclick.toml" $settings.Error) -}}
{{- end -}}
{{- include "nextclick.checkKeys" (dict "settings" $settings "known" (.Files.Get "files/keys.txt" | splitList "\n" | compact)) -}}
{{- include "nextclick.checkAddresses" $settings -}}
{{- include "nextclick.checkFiles" (dict "settings" $settings "values" .Values) -}}
{{- include "nextclick.checkSettings" (dict "settings" $settings "values" .Values) -}}
{{- include "nextclick.checkMembership" (dict "settings" $settings "values" .Values) -}}
{{- toJson $settings -}}
{{- end -}}

{{- /* The keys of config: no secret among them, and none that worker and trainer do not know. */ -}}
{{- define "nextclick.checkKeys" -}}
{{- $known := .known -}}
{{- if hasKey .settings "worker_id" -}}
{{- fail "config has worker_id: each pod has its own, its name. Remove it" -}}
{{- end -}}
{{- range $section, $keys := .settings -}}
{{- if kindIs "map" $keys -}}
{{- range $key, $value := $keys -}}
{{- if and $value (regexMatch "(password|secret|token)$" $key) -}}
{{- fail (printf "config has %s.%s, and whoever may read the ConfigMap could read it. Put it into the Secret that credentialsSecret names, as NEXTCLICK_%s_%s" $section $key (upper $section) (upper $key)) -}}
{{- end -}}
{{- if not (has (printf "%s.%s" $section $key) $known) -}}
{{- include "nextclick.unknown" (dict "key" (printf "%s.%s" $section $key) "section" $section "known" $known) -}}
{{- end -}}
{{- end -}}
{{- else if not (has $section $known) -}}
{{- include "nextclick.unknown" (dict "key" $section "section" $section "known" $known) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "nextclick.unknown" -}}
{{- $inside := list -}}
{{- $others := list -}}
{{- range .known -}}
{{- if hasPrefix (printf "%s." $.section) . -}}
{{- $inside = append $inside (trimPrefix (printf "%s." $.section) .) -}}
{{- end -}}
{{- $others = append $others (splitList "." . | first) -}}
{{- end -}}
{{- if $inside -}}
{{- fail (printf "config has %s, which is not a setting. Use a key of the section %s: %s" .key .section (join ", " $inside)) -}}
{{- end -}}
{{- fail (printf "config has %s, which is not a setting. Use one of these, or a key in one of these sections: %s" .key (without (uniq $others) "worker_id" | join ", ")) -}}
{{- end -}}

{{- /* The same rule as the worker's for host:port; and no address of the pod itself. */ -}}
{{- define "nextclick.checkAddresses" -}}
{{- $servers := dig "kafka" "bootstrap_servers" "" . -}}
{{- if not $servers -}}
{{- fail "config has no kafka.bootstrap_servers: pods would look for Kafka on themselves. Add it, such as \"kafka:9092\"" -}}
{{- end -}}
{{- if not (kindIs "string" $servers) -}}
{{- fail (printf "config has kafka.bootstrap_servers = %s, which is not text. Write \"host:port\", several separated by commas" (toJson $servers)) -}}
{{- end -}}
{{- range splitList "," $servers -}}
{{- $address := trim . -}}
{{- $port := regexFind ":[0-9]{1,5}$" $address | trimPrefix ":" | int -}}
{{- if not (and (regexMatch "^([\\pL\\pN_.-]+|\\[[0-9a-fA-F:.]+(%[\\pL\\pN_.-]+)?\\]):[0-9]+$" $address) (ge $port 1) (le $port 65535)) -}}
{{- fail (printf "config has %q in kafka.bootstrap_servers. Each address must be host:port, such as \"kafka:9092\"" $address) -}}
{{- end -}}
{{- include "nextclick.checkHost" (dict "key" "kafka.bootstrap_servers" "value" $servers "host" (regexReplaceAll ":[0-9]+$" $address "")) -}}
{{- end -}}
{{- range list (list "registry" "url") (list "kafka" "sasl_oauth_url") -}}
{{- $url := dig (first .) (last .) "" $ | toString -}}
{{- include "nextclick.checkHost" (dict "key" (join "." .) "value" $url "host" (regexReplaceAll ":[0-9]+$" (urlParse $url).host "")) -}}
{{- end -}}
{{- end -}}

{{- define "nextclick.checkHost" -}}
{{- if regexMatch "^(localhost|.*\\.localhost|127\\.[0-9.]+|0\\.0\\.0\\.0|\\[::1?\\])\\.?$" (lower .host) -}}
{{- fail (printf "config has %s = %q, and in a pod %s is the pod itself. Use a host that the pods can reach, such as a Service" .key .value .host) -}}
{{- end -}}
{{- end -}}

{{- /* Files can only come from filesSecret, or be in the image. */ -}}
{{- define "nextclick.checkFiles" -}}
{{- $values := .values -}}
{{- range $section, $keys := .settings -}}
{{- if kindIs "map" $keys -}}
{{- range $key, $value := $keys -}}
{{- $text := kindIs "string" $value | ternary $value "" | toString -}}
{{- $folder := "/etc/nextclick-files/" -}}
{{- $inside := hasPrefix $folder $text -}}
{{- if or (and (hasPrefix "/etc/nextclick" $text) (not $inside)) (and $text (hasSuffix "_file" $key) (not (hasPrefix "/" $text))) -}}
{{- fail (printf "config has %s.%s = %q, and pods have the files of filesSecret in %s. Put the file into that Secret, and write %q" $section $key $text $folder (printf "%s%s" $folder (base $text))) -}}
{{- end -}}
{{- if and $inside (not $values.filesSecret) -}}
{{- fail (printf "config has %s.%s = %q, and filesSecret is empty. Set it to the Secret with this file" $section $key $text) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "nextclick.checkSettings" -}}
{{- $settings := .settings -}}
{{- $values := .values -}}
{{- $kafka := $settings.kafka -}}
{{- $protocol := dig "security_protocol" "PLAINTEXT" $kafka -}}
{{- $mechanism := dig "sasl_mechanism" "" $kafka -}}
{{- $inFile := or $kafka.sasl_password_file $kafka.sasl_oauth_token_file (and (eq $mechanism "GSSAPI") $values.filesSecret) -}}
{{- if and (hasPrefix "SASL_" $protocol) (ne $mechanism "AWS_MSK_IAM") (not $values.credentialsSecret) (not $inFile) -}}
{{- fail (printf "config has kafka.security_protocol = %q, and there is no login. Set credentialsSecret to the Secret with the login, or name a file of filesSecret in kafka.sasl_password_file" $protocol) -}}
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
