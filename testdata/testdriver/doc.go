// Package testdriver proves the guard against libvirt's own parser and
// formatter: every domain of testdata/domains is defined in libvirt's test
// driver, and the hook program gets what libvirt makes of it. It needs a C
// compiler and, at run time, libvirt.so.0, and so runs only by
//
//	go test -tags libvirt_dlopen -count=1 ./testdata/testdriver
package testdriver
