// Stands for pkg/generated/openapi/zz_generated.openapi.go, which Kubernetes made in its build and did not publish at that time:
// it says of every type of the API only that it is an object. Nothing but kubectl explain and server-side apply asks for more.

package openapi

import (
	"reflect"

	"github.com/go-openapi/spec"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationv1beta1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

func GetOpenAPIDefinitions(common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	definitions := map[string]common.OpenAPIDefinition{}
	add := func(kind reflect.Type) {
		definitions[kind.PkgPath()+"."+kind.Name()] = common.OpenAPIDefinition{Schema: spec.Schema{
			SchemaProps:      spec.SchemaProps{Type: []string{"object"}},
			VendorExtensible: spec.VendorExtensible{Extensions: spec.Extensions{"x-kubernetes-preserve-unknown-fields": true}},
		}}
	}
	for _, kind := range legacyscheme.Scheme.AllKnownTypes() {
		add(kind)
	}
	for _, one := range []interface{}{
		metav1.Status{}, metav1.APIResourceList{}, metav1.APIGroupList{}, metav1.APIGroup{}, metav1.APIVersions{}, metav1.DeleteOptions{}, metav1.WatchEvent{},
		metav1.Patch{}, version.Info{}, apiregistrationv1.APIService{}, apiregistrationv1.APIServiceList{}, apiregistrationv1beta1.APIService{},
		apiregistrationv1beta1.APIServiceList{}, apiextensionsv1.CustomResourceDefinition{}, apiextensionsv1.CustomResourceDefinitionList{},
		apiextensionsv1beta1.CustomResourceDefinition{}, apiextensionsv1beta1.CustomResourceDefinitionList{}, apiextensionsv1.JSONSchemaProps{},
		apiextensionsv1beta1.JSONSchemaProps{},
	} {
		add(reflect.TypeOf(one))
	}
	return definitions
}
