/* The version, in the banner and in the telemetry's start record. */
#ifndef HV_VERSION_H
#define HV_VERSION_H

#define BALLAST_VERSION "0.1.0"

#endif
