import type { Dashboard } from '@grafana/schema';

// A type as JSON has it: an enumeration is one of its values.
type Plain<T> = T extends string ? `${T}` : T extends (infer E)[] ? Plain<E>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
