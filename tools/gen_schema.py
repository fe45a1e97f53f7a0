#!/usr/bin/env python3
"""Writes lib/schema/data from Kubernetes' published schema. Run by hand when the Kubernetes version moves; nothing runs it at build time.

    gen_schema.py --definitions _definitions.json --resources DIR --discovery DIR --api DIR --apimachinery DIR
                  --apiextensions DIR --aggregator DIR --out lib/schema/data

definitions   the OpenAPI definitions, `kubernetes-json-schema/v*-local/_definitions.json` of the Python package kubernetes-validate
resources     the folder `lightkube/resources` of the Python package lightkube-models (plurals, scopes, verbs of that version)
discovery     the folder `api/discovery` of Kubernetes (short names, categories, kinds of subresources)
api, ...      checkouts of k8s.io/api, k8s.io/apimachinery, k8s.io/apiextensions-apiserver and k8s.io/kube-aggregator of the same
              version: whether a field is a pointer or left out when empty, and its protobuf number, stand only in Go's struct tags

Facts only: descriptions are left out. The format of the two files is explained at their head. Python's standard library alone.
"""
import argparse, hashlib, base64, json, os, pathlib, re, sys

STRUCTURE_HEAD = '''\
# Kubernetes %s: definitions and their fields. Written by tools/gen_schema.py; see NOTICE.
# @NAME [atomic]            a definition; atomic: server-side apply owns it as one piece
# = NAME TAG                fields of another definition stand in this one; in protobuf they are a message of their own at TAG
# FIELD TAG PRESENCE TYPE [ATTRIBUTE...]
#   TAG       protobuf field number
#   PRESENCE  ! required, * pointer (an empty value differs from none), ? left out when empty, 0 left out when zero, - none of these
#   TYPE      string bool int32 int64 double bytes time microtime duration quantity intorstring any, @DEFINITION, []TYPE, {}TYPE, strings (a list wrapped in a message),
#             schema-or-array, schema-or-bool, schema-or-strings
#   list=set|map|atomic keys=A,B map=atomic merge=KEY patch=merge,retainKeys|replace enum=A|B default=JSON
'''
KINDS_HEAD = '''\
# Kubernetes %s: the kinds that it serves by default. Written by tools/gen_schema.py; see NOTICE.
# kind GROUP VERSION KIND PLURAL SCOPE VERBS SHORTNAMES CATEGORIES STORAGE DEFINITION   (- is none, GROUP core is the empty group, STORAGE is group/version)
# sub NAME VERBS GROUP VERSION KIND      a subresource of the kind above
'''
MODULES = {  # prefix of a definition -> (argument, folder inside)
    'io.k8s.api.': ('api', ''),
    'io.k8s.apimachinery.': ('apimachinery', ''),
    'io.k8s.apiextensions-apiserver.': ('apiextensions', ''),
    'io.k8s.kube-aggregator.': ('aggregator', ''),
}
IMPORTS = {
    'k8s.io/api/': 'io.k8s.api.',
    'k8s.io/apimachinery/': 'io.k8s.apimachinery.',
    'k8s.io/apiextensions-apiserver/': 'io.k8s.apiextensions-apiserver.',
    'k8s.io/kube-aggregator/': 'io.k8s.kube-aggregator.',
}
META = 'io.k8s.apimachinery.pkg.apis.meta.v1.'
EXTENSIONS = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.'
LEAVES = {
    META + 'Time': 'time', META + 'MicroTime': 'microtime', META + 'Duration': 'duration', META + 'FieldsV1': 'any',
    'io.k8s.apimachinery.pkg.api.resource.Quantity': 'quantity', 'io.k8s.apimachinery.pkg.util.intstr.IntOrString': 'intorstring',
    'io.k8s.apimachinery.pkg.runtime.RawExtension': 'any', EXTENSIONS + 'JSON': 'any',
    EXTENSIONS + 'JSONSchemaPropsOrArray': 'schema-or-array', EXTENSIONS + 'JSONSchemaPropsOrBool': 'schema-or-bool',
    EXTENSIONS + 'JSONSchemaPropsOrStringArray': 'schema-or-strings',
}
BASIC = {'string': 'string', 'bool': 'bool', 'int32': 'int32', 'int64': 'int64', 'int': 'int64', 'float64': 'double', 'uint64': 'int64', 'uint32': 'int64'}
# Field defaults that server-side apply needs to know an item by; the published v2 schema carries no defaults.
KEY_DEFAULTS = {('io.k8s.api.core.v1.ContainerPort', 'protocol'): 'TCP', ('io.k8s.api.core.v1.ServicePort', 'protocol'): 'TCP',
                ('io.k8s.api.core.v1.LocalObjectReference', 'name'): ''}
# Fields that are written only when a feature that is off by default fills them.
GATED = {('io.k8s.api.storage.v1.CSINode', 'status')}
# Bodies that no definition of a served kind leads to.
EXTRA = [META + n for n in ('DeleteOptions', 'Status', 'APIGroup', 'APIGroupList', 'APIResourceList', 'APIVersions', 'WatchEvent')] + [
    'io.k8s.api.autoscaling.v1.Scale', 'io.k8s.api.policy.v1.Eviction', 'io.k8s.api.core.v1.Binding', 'io.k8s.api.authentication.v1.TokenRequest']
OPTIONS = [META + n for n in ('CreateOptions', 'UpdateOptions', 'PatchOptions', 'GetOptions', 'ListOptions')]  # in Go alone


class Go:
    """Struct declarations of Go packages, read as text."""

    def __init__(self, roots):
        self.roots, self.packages = roots, {}

    def package(self, prefix):
        """Declarations of the package whose definitions start with `prefix`: name -> (file imports, body)."""
        if prefix not in self.packages:
            arg = next(a for p, (a, _) in MODULES.items() if prefix.startswith(p))
            base = next(p for p in MODULES if prefix.startswith(p))
            folder = pathlib.Path(self.roots[arg], *prefix[len(base):].strip('.').split('.'))
            found = {}
            for file in sorted(folder.glob('*.go')):
                if file.name.endswith('_test.go') or file.name.startswith(('zz_', 'generated')) or 'swagger_doc' in file.name:
                    continue
                text = re.sub(r'/\*.*?\*/', '', file.read_text(), flags=re.S)
                text = re.sub(r'^\s*//.*$', '', text, flags=re.M)
                imports = {}
                for m in re.finditer(r'^\s*(?:import\s+)?(\w+)?\s*"([^"]+)"\s*$', text, re.M):
                    imports[m[1] or m[2].rsplit('/', 1)[-1]] = m[2]
                for m in re.finditer(r'^type (\w+) struct ?\{(?:\}|\n(.*?)^\})', text, re.M | re.S):
                    found[m[1]] = (imports, 'struct', m[2] or '')
                for m in re.finditer(r'^type (\w+) (?!struct|interface)([^\n{]+)$', text, re.M):
                    found.setdefault(m[1], (imports, 'alias', m[2].split('//')[0].strip()))
            self.packages[prefix] = found
        return self.packages[prefix]

    def split(self, name):
        prefix, last = name.rsplit('.', 1)
        return prefix + '.', last

    def resolve(self, prefix, imports, text):
        """A Go type expression as (pointer, our type)."""
        if text.startswith('*'):
            return True, self.resolve(prefix, imports, text[1:])[1]
        if text in ('[]byte', '[]uint8'):
            return False, 'bytes'
        if text.startswith('[]'):
            return False, '[]' + self.resolve(prefix, imports, text[2:])[1]
        if m := re.match(r'map\[([\w.]+)\](.*)$', text):
            return False, '{}' + self.resolve(prefix, imports, m[2])[1]
        if text in BASIC:
            return False, BASIC[text]
        if '.' in text:
            package, last = text.split('.')
            path = imports[package]
            if path.endswith('/types') and last in ('UID', 'NodeName', 'NamespacedName'):
                return False, 'string'
            module = next((m for m in IMPORTS if path.startswith(m)), None)
            if module is None:
                raise KeyError(text)
            prefix, text = IMPORTS[module] + path[len(module):].replace('/', '.') + '.', last
        name = prefix + text
        if name in LEAVES:
            return False, LEAVES[name]
        imports, sort, body = self.package(prefix)[text]
        if sort == 'struct':
            return False, '@' + name
        if text in ('ExtraValue', 'Verbs', 'AttestationValue'):
            return False, 'strings'                    # in protobuf a message with the list inside
        return self.resolve(prefix, imports, body)

    def fields(self, name):
        """Fields of a struct: dicts of json, tag, pointer, omit, zero, type; embedded ones have json ''."""
        prefix, last = self.split(name)
        imports, sort, body = self.package(prefix).get(last, ({}, 'struct', ''))
        assert sort == 'struct', name
        out = []
        for line in body.splitlines():
            m = re.match(r'\s*(?:(\w+)\s+)?([*\[\]\w.]+(?:\[[\w.]+\][\[\]*\w.]+)?)\s+`([^`]*)`', line)
            if not m:
                if '`' in line or re.match(r'\s*[*\w.]+\s*$', line) and line.strip():
                    sys.exit(f'{name}: cannot read the field {line!r}')
                continue
            tags = dict(re.findall(r'(\w+):"([^"]*)"', m[3]))
            if tags.get('json') == '-':
                continue
            json_name, *options = tags.get('json', '').split(',')
            wire = re.match(r'\w+,(\d+)', tags.get('protobuf', ''))
            pointer, type_ = self.resolve(prefix, imports, m[2])
            if type_ == '@' + META + 'TypeMeta':
                out += [dict(json=n, tag=0, pointer=False, omit=True, zero=False, type='string') for n in ('kind', 'apiVersion')]
                continue
            if json_name and not wire and not prefix.startswith(META) and not name.endswith('List'):
                print(f'no protobuf number: {name}.{json_name}', file=sys.stderr)
            out.append(dict(json=json_name, tag=int(wire[1]) if wire else 0, pointer=pointer,
                            omit='omitempty' in options, zero='omitzero' in options, type=type_))
        return out

    def names(self, name):
        """JSON names of a struct's fields, embedded ones included."""
        own = self.fields(name)
        return {f['json'] for f in own if f['json']}.union(*(self.names(refs(f['type'])[0]) for f in own if not f['json']))


def clean(schema):
    """Undoes what the converter of the published definitions changed."""
    if isinstance(schema, list):
        return [clean(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: {n: clean(p) for n, p in v.items()} if k == 'properties' else clean(v) for k, v in schema.items() if k != 'description'}
    if isinstance(out.get('type'), list):
        out['type'] = [t for t in out['type'] if t != 'null'][0]
    if '$ref' in out:
        out['$ref'] = out['$ref'].removeprefix('#/$defs/')
    return out


def refs(type_):
    return re.findall(r'@([\w.-]+)', type_)


def attributes(schema):
    """x-kubernetes facts of one property as attributes."""
    out = []
    if t := schema.get('x-kubernetes-list-type'):
        out.append(f'list={t}')
    if keys := schema.get('x-kubernetes-list-map-keys'):
        out.append('keys=' + ','.join(keys))
    if t := schema.get('x-kubernetes-map-type'):
        out.append(f'map={t}')
    if key := schema.get('x-kubernetes-patch-merge-key'):
        out.append(f'merge={key}')
    if strategy := schema.get('x-kubernetes-patch-strategy'):
        out.append(f'patch={strategy}')
    if values := schema.get('enum'):
        out.append('enum=' + '|'.join(values))
    return out


def definition_lines(go, definitions, name, seen, queue, schema=None):
    """Lines of one definition; embedded structs become definitions of their own. `schema` is that of the embedding definition."""
    own = definitions.get(name)
    schema = own or schema or {}
    properties, required = schema.get('properties', {}), schema.get('required', [])
    kind_level = 'x-kubernetes-group-version-kind' in schema
    atomic = own and own.get('x-kubernetes-map-type') == 'atomic'
    lines, names = [f'@{name}' + (' atomic' if atomic else '')], set()
    for f in go.fields(name):
        for ref in refs(f['type']):
            if f['json'] and ref not in seen:
                queue.append((ref, None))
        if not f['json']:
            ref = refs(f['type'])[0]
            lines.append(f"= {ref} {f['tag']}")
            if ref not in seen:
                queue.append((ref, schema))
            names |= go.names(ref)
            continue
        names.add(f['json'])
        p = properties.get(f['json'])
        if p is None and own:
            print(f"not in the schema: {name}.{f['json']}", file=sys.stderr)
            continue
        p = dict(p or {})
        if kind_level and f['json'] in ('apiVersion', 'kind'):
            p.pop('enum', None)
        presence = ('!' if f['json'] in required else '') + ('*' if f['pointer'] else '') + ('?' if f['omit'] else '') + ('0' if f['zero'] or (name, f['json']) in GATED else '')
        extra = attributes(p)
        if (default := KEY_DEFAULTS.get((name, f['json']))) is not None:
            extra.append('default=' + json.dumps(default))
        if 'schema-or' in f['type'] and EXTENSIONS + 'JSONSchemaProps' not in seen:
            queue.append((EXTENSIONS + 'JSONSchemaProps', None))
        lines.append(' '.join([f['json'], str(f['tag']), presence or '-', f['type'], *extra]))
    for p in sorted(properties.keys() - names) if own else ():
        print(f'not in Go, so without a protobuf number: {name}.{p}', file=sys.stderr)
        schema_type = plain_type(properties[p])
        for ref in refs(schema_type):
            queue.append((ref, None))
        lines.append(' '.join([p, '0', ('!' if p in required else '') + '?', schema_type, *attributes(properties[p])]))
    return lines


def plain_type(p):
    """The type of a property that only the published schema knows yet."""
    if '$ref' in p:
        return LEAVES.get(p['$ref'], '@' + p['$ref'])
    if p['type'] == 'array':
        return '[]' + plain_type(p['items'])
    if p['type'] == 'object':
        return '{}' + plain_type(p['additionalProperties'])
    return {'boolean': 'bool', 'integer': p.get('format'), 'number': 'double', 'string': 'bytes' if p.get('format') == 'byte' else 'string'}[p['type']]


def resources(folder):
    """Classes of lightkube: (group, version, kind) -> dict; subresources under their parent."""
    kinds, subs = {}, []
    for file in sorted(pathlib.Path(folder).glob('*_v*.py')):
        for block in re.split(r'^class ', file.read_text(), flags=re.M)[1:]:
            gvk = re.search(r"resource=res\.ResourceDef\('([^']*)', '([^']*)', '([^']*)'\)", block)
            parent = re.search(r"parent=res\.ResourceDef\('([^']*)', '([^']*)', '([^']*)'\)", block)
            plural, verbs = re.search(r"plural='([^']*)'", block), re.findall(r"'(\w+)'", re.search(r'verbs=\[([^\]]*)\]', block)[1])
            action = re.search(r"action='([^']*)'", block)
            if action:
                subs.append(((parent or gvk).groups(), action[1], verbs, gvk.groups() if gvk else None))
            else:
                kinds[gvk.groups()] = dict(plural=plural[1], verbs=verbs, namespaced='NamespacedResource' in block.split(':')[0])
    return kinds, subs


def discovery(folder):
    """Legacy discovery documents: (group, version) -> resources."""
    out = {}
    for file in pathlib.Path(folder).glob('api*__*.json'):
        document = json.loads(file.read_text())
        if document.get('kind') == 'APIResourceList':
            group, _, version = document['groupVersion'].rpartition('/')
            out[group, version] = document['resources']
    return out


VERBS = {'post': 'create', 'put': 'update', 'delete': 'delete', 'deletecollection': 'deletecollection', 'get': 'get', 'list': 'list', 'patch': 'patch', 'watch': 'watch'}


def definition_of(definitions, group, version, kind):
    found = [n for n, d in definitions.items() for g in d.get('x-kubernetes-group-version-kind', [])
             if (g['group'], g['version'], g['kind']) == (group, version, kind)]
    return next((n for n in found if n.endswith('.' + kind)), found[0] if found else None)


def storage(group, version, kind, resource, documents):
    """The group/version that the kind is stored as, told by its hash."""
    want = resource.get('storageVersionHash')
    for (g, v) in [(group, version), *documents, *((group, v) for v in ('v1beta1', 'v1alpha1'))]:
        text = f'{g}/{v}/{kind}'
        if want == base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode():
            return f'{g or "core"}/{v}'
    return '-' if want is None else sys.exit(f'no group/version hashes to {want} ({kind})')


def kind_lines(definitions, lightkube, subs, documents):
    lines, roots = [], []
    stable = sorted({gvk[:2] for gvk in lightkube if re.fullmatch(r'v\d+', gvk[1])} | {gv for gv in documents if re.fullmatch(r'v\d+', gv[1])})
    word = lambda values: ','.join(values) or '-'
    for group, version in stable:
        known = {r['name']: r for r in documents.get((group, version), [])}
        for (g, v, kind), r in lightkube.items():                      # kinds newer than the discovery documents
            if (g, v) == (group, version) and r['plural'] not in known:
                verbs = sorted(VERBS[x] for x in r['verbs'] if x in VERBS)
                known[r['plural']] = dict(name=r['plural'], kind=kind, namespaced=r['namespaced'], singularName=kind.lower(), verbs=verbs,
                                          storageVersionHash=base64.b64encode(hashlib.sha256(f'{g}/{v}/{kind}'.encode()).digest()[:8]).decode())
                print(f'only in the newer list: {group}/{version} {kind}', file=sys.stderr)
                for parent, action, verbs, _ in subs:
                    if parent == (g, v, kind):
                        name = r['plural'] + '/' + action
                        known[name] = dict(name=name, kind=kind, namespaced=r['namespaced'], singularName='', verbs=sorted(VERBS[x] for x in verbs))
        for name in sorted(known):
            r = known[name]
            if '/' in name:
                lines.append(f"sub {name.split('/')[1]} {word(r['verbs'])} {r.get('group', group) or 'core'} {r.get('version', version)} {r['kind']}")
                sub = definition_of(definitions, r.get('group', group), r.get('version', version), r['kind'])
                roots += [sub] if sub else []
                continue
            definition = definition_of(definitions, group, version, r['kind'])
            if definition is None:
                sys.exit(f'no definition of {group}/{version} {r["kind"]}')
            roots += [definition] + [n for n in [definition + 'List'] if n in definitions]
            if r.get('singularName') != r['kind'].lower():
                sys.exit(f"{name}: singular {r.get('singularName')}")
            lines.append(' '.join(['kind', group or 'core', version, r['kind'], name, 'namespaced' if r['namespaced'] else 'cluster', word(r['verbs']),
                                   word(r.get('shortNames', [])), word(r.get('categories', [])), storage(group, version, r['kind'], r, documents), definition]))
    return lines, roots


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('definitions', 'resources', 'discovery', 'api', 'apimachinery', 'apiextensions', 'aggregator', 'out'):
        parser.add_argument('--' + name, required=True)
    parser.add_argument('--version', default='1.37')
    a = parser.parse_args()
    definitions = {n: clean(d) for n, d in json.loads(pathlib.Path(a.definitions).read_text())['$defs'].items()}
    go = Go(vars(a))
    lightkube, subs = resources(a.resources)
    kinds, roots = kind_lines(definitions, lightkube, subs, discovery(a.discovery))
    queue, seen, out = [(r, None) for r in roots + EXTRA + OPTIONS if r not in LEAVES], set(), {}
    while queue:
        name, schema = queue.pop()
        if name not in seen:
            seen.add(name)
            out[name] = definition_lines(go, definitions, name, seen, queue, schema)
    folder = pathlib.Path(a.out)
    folder.joinpath('structure.txt').write_text(STRUCTURE_HEAD % a.version + ''.join('\n'.join(out[n]) + '\n' for n in sorted(out)))
    folder.joinpath('kinds.txt').write_text(KINDS_HEAD % a.version + '\n'.join(kinds) + '\n')


if __name__ == '__main__':
    main()
