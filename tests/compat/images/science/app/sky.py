from importlib import resources

from astropy.io import fits
from astropy.utils.data import get_pkg_data_contents, get_pkg_data_filename

print(len(fits.open(get_pkg_data_filename("data/test0.fits", package="astropy.io.fits.tests"))))
print(len(get_pkg_data_contents("data/regression.xml", package="astropy.io.votable.tests")) > 100)
print(resources.files("astropy.wcs.tests").joinpath("data", "3d_cd.hdr").stat().st_size)
